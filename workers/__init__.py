"""The Celery application, its lifecycle and beat's schedule. Imports tasks and everything below."""
