"""Corpora, audio and segments."""
