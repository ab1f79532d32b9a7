"""What deploy/check.py holds rendered manifests, the dashboard and the units against."""
