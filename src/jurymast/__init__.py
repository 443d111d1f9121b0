"""Jurymast."""
