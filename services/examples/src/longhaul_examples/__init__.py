"""Example tasks that do real work: an index over documents, a report from a CSV file, and an adjustable demo."""
