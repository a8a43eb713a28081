"""Every configuration key: its type, its default, its meaning.

There is a module for each feature and for each table. These Structs are the only place where a key, a default or a
description is written: files are read by them, and the JSON Schema and the reference page are generated from them.
Attribute names are key names; values are resolved: durations are seconds (float), sizes bytes (int), references
replaced by what they stand for. Nothing here does I/O when it is loaded, and a configuration survives MessagePack
(``msgspec.msgpack``) unchanged.
"""
