"""The wheels and sdists of a release."""
