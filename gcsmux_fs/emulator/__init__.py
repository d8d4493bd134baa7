"""The emulator: a local server for the gRPC API of Google Cloud Storage.

Buckets are folders, and objects are files. The rules:

- Every folder in the served folder is a bucket, unless its name begins with a dot. The files below
  this folder are the objects of the bucket. Files whose names are not UTF-8, or are longer than
  1,024 bytes, are ignored.
- If a file is changed or replaced, its object gets a new generation, and the old generation no
  longer exists. A change of the file's inode alone has the same effect, for example chmod or a new
  hard link. Generations survive a restart.
- If an object is replaced or deleted, the streams that read the object continue with the old bytes.
  If the object's file is changed in place, or the object is moved, these streams end with
  NOT_FOUND. No stream mixes old and new bytes.
- While an appendable object is not finalized, a requested range is cut at the current end of the
  object. The current end also applies to streams that were opened when the object was shorter.
- The emulator ignores read handles from other servers, as the service does on connections without
  DirectPath. If a read handle names another object or generation, the call ends with an error.
- The checksum of an object above 64 KiB is computed when GetObject or ReadObject first needs it.
  After that, listings and BidiReadObject also show the checksum. Objects above 256 MiB have a
  checksum only if the emulator has received or copied their content since it started.
- The folder `.gcsmux-emulator` in the served folder stores what files cannot store: objects whose
  names no file can have, appendable objects that are not finalized, and attributes of objects.
- CreateBucket supports location, placement, storage class and namespace. The option
  `--location-type` makes all other buckets either regional with a flat namespace, or zonal. All
  zonal buckets are hierarchical.
- Hierarchical buckets have folders. The methods of StorageControl create, list, rename and remove
  folders. Empty folders appear in listings that set `include_folders_as_prefixes`. The objects in a
  renamed folder keep their generations. A long-running operation is already done when the call that
  starts the operation returns. A folder `f/` and an object `f` cannot both exist.
- Objects in zonal buckets cannot be composed or rewritten. UpdateObject supports content type,
  encoding, disposition, language, cache control and custom metadata. An update of any other field
  ends with an error.
- The options `--versioning` and `--soft-delete`, or CreateBucket, make a bucket keep generations
  that calls overwrite or delete. What other programs overwrite in the folder is lost.
- There are no permissions. Listings with globs or filters end with UNIMPLEMENTED.
- Pub/Sub is served at the same address. Buckets with a notification configuration publish each
  change of an object, also changes of files by other programs: see docs/EMULATOR.md.
- A fault happens only if a rule asks for it: see docs/FAULTS.md.
"""
