"""Versions of the schema. A new one is written by hand: tests hold it against ``tables`` on both databases."""
