"""Tests of a trained model."""
