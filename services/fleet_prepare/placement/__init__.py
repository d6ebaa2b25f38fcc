"""Devices that engines use, and the number formats they compute in there."""
