"""What the modules at the host's own import paths share. Everything else is the ``jurymast`` package."""
