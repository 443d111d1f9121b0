"""Tests of the AI layer."""
