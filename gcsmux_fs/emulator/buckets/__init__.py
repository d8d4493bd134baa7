"""The stored data: buckets, objects, folders and generations, kept as files and records."""
