"""What the API and the workers share: the Celery app, jobs and their storage."""
