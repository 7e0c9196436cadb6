"""The routes: each module installs its own on the app. What they decide and write is elsewhere."""
