"""Streams that pass on another one, and what concerns all streams: who hears of them, and how they are ended."""
