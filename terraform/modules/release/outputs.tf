output "status" {
  description = "What Helm says of the release."
  value       = helm_release.longhaul.status
}

output "revision" {
  description = "How often the release was installed or upgraded."
  value       = helm_release.longhaul.metadata.revision
}
