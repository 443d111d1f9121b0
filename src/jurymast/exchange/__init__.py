"""Where orders live: the embedded paper exchange on real, resolved questions."""
