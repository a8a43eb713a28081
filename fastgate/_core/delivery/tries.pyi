"""Tries of an exchange: nothing here can be reached from Python."""
