import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ObjectChecksums(_message.Message):
    __slots__ = ("crc32c", "md5_hash")
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    MD5_HASH_FIELD_NUMBER: _ClassVar[int]
    crc32c: int
    md5_hash: bytes
    def __init__(self, crc32c: _Optional[int] = ..., md5_hash: _Optional[bytes] = ...) -> None: ...

class ChecksummedData(_message.Message):
    __slots__ = ("content", "crc32c")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    crc32c: int
    def __init__(self, content: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class CommonObjectRequestParams(_message.Message):
    __slots__ = ("encryption_algorithm", "encryption_key_bytes", "encryption_key_sha256_bytes")
    ENCRYPTION_ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_KEY_SHA256_BYTES_FIELD_NUMBER: _ClassVar[int]
    encryption_algorithm: str
    encryption_key_bytes: bytes
    encryption_key_sha256_bytes: bytes
    def __init__(self, encryption_algorithm: _Optional[str] = ..., encryption_key_bytes: _Optional[bytes] = ..., encryption_key_sha256_bytes: _Optional[bytes] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("name", "bucket", "generation", "metageneration", "storage_class", "size", "content_encoding", "content_disposition", "cache_control", "content_language", "delete_time", "content_type", "create_time", "component_count", "checksums", "update_time", "metadata", "etag", "soft_delete_time", "hard_delete_time", "finalize_time")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    METAGENERATION_FIELD_NUMBER: _ClassVar[int]
    STORAGE_CLASS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    CONTENT_DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    CACHE_CONTROL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SOFT_DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    HARD_DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    FINALIZE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    bucket: str
    generation: int
    metageneration: int
    storage_class: str
    size: int
    content_encoding: str
    content_disposition: str
    cache_control: str
    content_language: str
    delete_time: _timestamp_pb2.Timestamp
    content_type: str
    create_time: _timestamp_pb2.Timestamp
    component_count: int
    checksums: ObjectChecksums
    update_time: _timestamp_pb2.Timestamp
    metadata: _containers.ScalarMap[str, str]
    etag: str
    soft_delete_time: _timestamp_pb2.Timestamp
    hard_delete_time: _timestamp_pb2.Timestamp
    finalize_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., bucket: _Optional[str] = ..., generation: _Optional[int] = ..., metageneration: _Optional[int] = ..., storage_class: _Optional[str] = ..., size: _Optional[int] = ..., content_encoding: _Optional[str] = ..., content_disposition: _Optional[str] = ..., cache_control: _Optional[str] = ..., content_language: _Optional[str] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content_type: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., component_count: _Optional[int] = ..., checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., etag: _Optional[str] = ..., soft_delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., hard_delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finalize_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("name", "bucket_id", "project", "metageneration", "location", "location_type", "storage_class", "create_time", "update_time", "labels", "versioning", "custom_placement_config", "etag", "soft_delete_policy", "hierarchical_namespace")
    class CustomPlacementConfig(_message.Message):
        __slots__ = ("data_locations",)
        DATA_LOCATIONS_FIELD_NUMBER: _ClassVar[int]
        data_locations: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, data_locations: _Optional[_Iterable[str]] = ...) -> None: ...
    class HierarchicalNamespace(_message.Message):
        __slots__ = ("enabled",)
        ENABLED_FIELD_NUMBER: _ClassVar[int]
        enabled: bool
        def __init__(self, enabled: _Optional[bool] = ...) -> None: ...
    class Versioning(_message.Message):
        __slots__ = ("enabled",)
        ENABLED_FIELD_NUMBER: _ClassVar[int]
        enabled: bool
        def __init__(self, enabled: _Optional[bool] = ...) -> None: ...
    class SoftDeletePolicy(_message.Message):
        __slots__ = ("retention_duration", "effective_time")
        RETENTION_DURATION_FIELD_NUMBER: _ClassVar[int]
        EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
        retention_duration: _duration_pb2.Duration
        effective_time: _timestamp_pb2.Timestamp
        def __init__(self, retention_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    METAGENERATION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_CLASS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VERSIONING_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_PLACEMENT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SOFT_DELETE_POLICY_FIELD_NUMBER: _ClassVar[int]
    HIERARCHICAL_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    bucket_id: str
    project: str
    metageneration: int
    location: str
    location_type: str
    storage_class: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    labels: _containers.ScalarMap[str, str]
    versioning: Bucket.Versioning
    custom_placement_config: Bucket.CustomPlacementConfig
    etag: str
    soft_delete_policy: Bucket.SoftDeletePolicy
    hierarchical_namespace: Bucket.HierarchicalNamespace
    def __init__(self, name: _Optional[str] = ..., bucket_id: _Optional[str] = ..., project: _Optional[str] = ..., metageneration: _Optional[int] = ..., location: _Optional[str] = ..., location_type: _Optional[str] = ..., storage_class: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., versioning: _Optional[_Union[Bucket.Versioning, _Mapping]] = ..., custom_placement_config: _Optional[_Union[Bucket.CustomPlacementConfig, _Mapping]] = ..., etag: _Optional[str] = ..., soft_delete_policy: _Optional[_Union[Bucket.SoftDeletePolicy, _Mapping]] = ..., hierarchical_namespace: _Optional[_Union[Bucket.HierarchicalNamespace, _Mapping]] = ...) -> None: ...

class GetBucketRequest(_message.Message):
    __slots__ = ("name", "if_metageneration_match", "if_metageneration_not_match", "read_mask")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    name: str
    if_metageneration_match: int
    if_metageneration_not_match: int
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, name: _Optional[str] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ListBucketsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "prefix", "read_mask", "return_partial_success")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    RETURN_PARTIAL_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    prefix: str
    read_mask: _field_mask_pb2.FieldMask
    return_partial_success: bool
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., prefix: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., return_partial_success: _Optional[bool] = ...) -> None: ...

class ListBucketsResponse(_message.Message):
    __slots__ = ("buckets", "next_page_token", "unreachable")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    next_page_token: str
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., unreachable: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateBucketRequest(_message.Message):
    __slots__ = ("parent", "bucket", "bucket_id", "predefined_acl", "predefined_default_object_acl", "enable_object_retention")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    PREDEFINED_ACL_FIELD_NUMBER: _ClassVar[int]
    PREDEFINED_DEFAULT_OBJECT_ACL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_OBJECT_RETENTION_FIELD_NUMBER: _ClassVar[int]
    parent: str
    bucket: Bucket
    bucket_id: str
    predefined_acl: str
    predefined_default_object_acl: str
    enable_object_retention: bool
    def __init__(self, parent: _Optional[str] = ..., bucket: _Optional[_Union[Bucket, _Mapping]] = ..., bucket_id: _Optional[str] = ..., predefined_acl: _Optional[str] = ..., predefined_default_object_acl: _Optional[str] = ..., enable_object_retention: _Optional[bool] = ...) -> None: ...

class DeleteBucketRequest(_message.Message):
    __slots__ = ("name", "if_metageneration_match", "if_metageneration_not_match")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    name: str
    if_metageneration_match: int
    if_metageneration_not_match: int
    def __init__(self, name: _Optional[str] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ...) -> None: ...

class GetObjectRequest(_message.Message):
    __slots__ = ("bucket", "object", "generation", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "common_object_request_params", "read_mask", "soft_deleted", "restore_token")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    SOFT_DELETED_FIELD_NUMBER: _ClassVar[int]
    RESTORE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    common_object_request_params: CommonObjectRequestParams
    read_mask: _field_mask_pb2.FieldMask
    soft_deleted: bool
    restore_token: str
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., soft_deleted: _Optional[bool] = ..., restore_token: _Optional[str] = ...) -> None: ...

class RestoreObjectRequest(_message.Message):
    __slots__ = ("bucket", "object", "generation", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "common_object_request_params", "copy_source_acl", "restore_token")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    COPY_SOURCE_ACL_FIELD_NUMBER: _ClassVar[int]
    RESTORE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    common_object_request_params: CommonObjectRequestParams
    copy_source_acl: bool
    restore_token: str
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., copy_source_acl: _Optional[bool] = ..., restore_token: _Optional[str] = ...) -> None: ...

class ListObjectsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "delimiter", "include_trailing_delimiter", "prefix", "versions", "read_mask", "lexicographic_start", "lexicographic_end", "soft_deleted", "include_folders_as_prefixes", "match_glob", "filter")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TRAILING_DELIMITER_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    LEXICOGRAPHIC_START_FIELD_NUMBER: _ClassVar[int]
    LEXICOGRAPHIC_END_FIELD_NUMBER: _ClassVar[int]
    SOFT_DELETED_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FOLDERS_AS_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    MATCH_GLOB_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    delimiter: str
    include_trailing_delimiter: bool
    prefix: str
    versions: bool
    read_mask: _field_mask_pb2.FieldMask
    lexicographic_start: str
    lexicographic_end: str
    soft_deleted: bool
    include_folders_as_prefixes: bool
    match_glob: str
    filter: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., delimiter: _Optional[str] = ..., include_trailing_delimiter: _Optional[bool] = ..., prefix: _Optional[str] = ..., versions: _Optional[bool] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., lexicographic_start: _Optional[str] = ..., lexicographic_end: _Optional[str] = ..., soft_deleted: _Optional[bool] = ..., include_folders_as_prefixes: _Optional[bool] = ..., match_glob: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListObjectsResponse(_message.Message):
    __slots__ = ("objects", "prefixes", "next_page_token")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[Object]
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, objects: _Optional[_Iterable[_Union[Object, _Mapping]]] = ..., prefixes: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteObjectRequest(_message.Message):
    __slots__ = ("bucket", "object", "generation", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "common_object_request_params")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    common_object_request_params: CommonObjectRequestParams
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ...) -> None: ...

class UpdateObjectRequest(_message.Message):
    __slots__ = ("object", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "update_mask", "common_object_request_params", "predefined_acl", "override_unlocked_retention")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    PREDEFINED_ACL_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_UNLOCKED_RETENTION_FIELD_NUMBER: _ClassVar[int]
    object: Object
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    update_mask: _field_mask_pb2.FieldMask
    common_object_request_params: CommonObjectRequestParams
    predefined_acl: str
    override_unlocked_retention: bool
    def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., predefined_acl: _Optional[str] = ..., override_unlocked_retention: _Optional[bool] = ...) -> None: ...

class MoveObjectRequest(_message.Message):
    __slots__ = ("bucket", "source_object", "destination_object", "if_source_generation_match", "if_source_generation_not_match", "if_source_metageneration_match", "if_source_metageneration_not_match", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_OBJECT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_OBJECT_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    source_object: str
    destination_object: str
    if_source_generation_match: int
    if_source_generation_not_match: int
    if_source_metageneration_match: int
    if_source_metageneration_not_match: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    def __init__(self, bucket: _Optional[str] = ..., source_object: _Optional[str] = ..., destination_object: _Optional[str] = ..., if_source_generation_match: _Optional[int] = ..., if_source_generation_not_match: _Optional[int] = ..., if_source_metageneration_match: _Optional[int] = ..., if_source_metageneration_not_match: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ...) -> None: ...

class RewriteObjectRequest(_message.Message):
    __slots__ = ("destination", "source_bucket", "source_object", "source_generation", "rewrite_token", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "if_source_generation_match", "if_source_generation_not_match", "if_source_metageneration_match", "if_source_metageneration_not_match", "max_bytes_rewritten_per_call", "common_object_request_params", "destination_name", "destination_bucket", "destination_kms_key", "destination_predefined_acl", "object_checksums")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_BUCKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_OBJECT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GENERATION_FIELD_NUMBER: _ClassVar[int]
    REWRITE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_SOURCE_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_REWRITTEN_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_NAME_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_BUCKET_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_KMS_KEY_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PREDEFINED_ACL_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    destination: Object
    source_bucket: str
    source_object: str
    source_generation: int
    rewrite_token: str
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    if_source_generation_match: int
    if_source_generation_not_match: int
    if_source_metageneration_match: int
    if_source_metageneration_not_match: int
    max_bytes_rewritten_per_call: int
    common_object_request_params: CommonObjectRequestParams
    destination_name: str
    destination_bucket: str
    destination_kms_key: str
    destination_predefined_acl: str
    object_checksums: ObjectChecksums
    def __init__(self, destination: _Optional[_Union[Object, _Mapping]] = ..., source_bucket: _Optional[str] = ..., source_object: _Optional[str] = ..., source_generation: _Optional[int] = ..., rewrite_token: _Optional[str] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., if_source_generation_match: _Optional[int] = ..., if_source_generation_not_match: _Optional[int] = ..., if_source_metageneration_match: _Optional[int] = ..., if_source_metageneration_not_match: _Optional[int] = ..., max_bytes_rewritten_per_call: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., destination_name: _Optional[str] = ..., destination_bucket: _Optional[str] = ..., destination_kms_key: _Optional[str] = ..., destination_predefined_acl: _Optional[str] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ...) -> None: ...

class RewriteResponse(_message.Message):
    __slots__ = ("total_bytes_rewritten", "object_size", "done", "rewrite_token", "resource")
    TOTAL_BYTES_REWRITTEN_FIELD_NUMBER: _ClassVar[int]
    OBJECT_SIZE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    REWRITE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    total_bytes_rewritten: int
    object_size: int
    done: bool
    rewrite_token: str
    resource: Object
    def __init__(self, total_bytes_rewritten: _Optional[int] = ..., object_size: _Optional[int] = ..., done: _Optional[bool] = ..., rewrite_token: _Optional[str] = ..., resource: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...

class ComposeObjectRequest(_message.Message):
    __slots__ = ("destination", "source_objects", "if_generation_match", "if_metageneration_match", "kms_key", "common_object_request_params", "destination_predefined_acl", "object_checksums", "delete_source_objects")
    class SourceObject(_message.Message):
        __slots__ = ("name", "generation", "object_preconditions")
        class ObjectPreconditions(_message.Message):
            __slots__ = ("if_generation_match",)
            IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
            if_generation_match: int
            def __init__(self, if_generation_match: _Optional[int] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        GENERATION_FIELD_NUMBER: _ClassVar[int]
        OBJECT_PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
        name: str
        generation: int
        object_preconditions: ComposeObjectRequest.SourceObject.ObjectPreconditions
        def __init__(self, name: _Optional[str] = ..., generation: _Optional[int] = ..., object_preconditions: _Optional[_Union[ComposeObjectRequest.SourceObject.ObjectPreconditions, _Mapping]] = ...) -> None: ...
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PREDEFINED_ACL_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    DELETE_SOURCE_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    destination: Object
    source_objects: _containers.RepeatedCompositeFieldContainer[ComposeObjectRequest.SourceObject]
    if_generation_match: int
    if_metageneration_match: int
    kms_key: str
    common_object_request_params: CommonObjectRequestParams
    destination_predefined_acl: str
    object_checksums: ObjectChecksums
    delete_source_objects: bool
    def __init__(self, destination: _Optional[_Union[Object, _Mapping]] = ..., source_objects: _Optional[_Iterable[_Union[ComposeObjectRequest.SourceObject, _Mapping]]] = ..., if_generation_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., kms_key: _Optional[str] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., destination_predefined_acl: _Optional[str] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ..., delete_source_objects: _Optional[bool] = ...) -> None: ...

class BidiReadHandle(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    def __init__(self, handle: _Optional[bytes] = ...) -> None: ...

class BidiReadObjectSpec(_message.Message):
    __slots__ = ("bucket", "object", "generation", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "common_object_request_params", "read_mask", "read_handle", "routing_token")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    READ_HANDLE_FIELD_NUMBER: _ClassVar[int]
    ROUTING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    common_object_request_params: CommonObjectRequestParams
    read_mask: _field_mask_pb2.FieldMask
    read_handle: BidiReadHandle
    routing_token: str
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., read_handle: _Optional[_Union[BidiReadHandle, _Mapping]] = ..., routing_token: _Optional[str] = ...) -> None: ...

class ReadRange(_message.Message):
    __slots__ = ("read_offset", "read_length", "read_id")
    READ_OFFSET_FIELD_NUMBER: _ClassVar[int]
    READ_LENGTH_FIELD_NUMBER: _ClassVar[int]
    READ_ID_FIELD_NUMBER: _ClassVar[int]
    read_offset: int
    read_length: int
    read_id: int
    def __init__(self, read_offset: _Optional[int] = ..., read_length: _Optional[int] = ..., read_id: _Optional[int] = ...) -> None: ...

class BidiReadObjectRequest(_message.Message):
    __slots__ = ("read_object_spec", "read_ranges")
    READ_OBJECT_SPEC_FIELD_NUMBER: _ClassVar[int]
    READ_RANGES_FIELD_NUMBER: _ClassVar[int]
    read_object_spec: BidiReadObjectSpec
    read_ranges: _containers.RepeatedCompositeFieldContainer[ReadRange]
    def __init__(self, read_object_spec: _Optional[_Union[BidiReadObjectSpec, _Mapping]] = ..., read_ranges: _Optional[_Iterable[_Union[ReadRange, _Mapping]]] = ...) -> None: ...

class ObjectRangeData(_message.Message):
    __slots__ = ("checksummed_data", "read_range", "range_end")
    CHECKSUMMED_DATA_FIELD_NUMBER: _ClassVar[int]
    READ_RANGE_FIELD_NUMBER: _ClassVar[int]
    RANGE_END_FIELD_NUMBER: _ClassVar[int]
    checksummed_data: ChecksummedData
    read_range: ReadRange
    range_end: bool
    def __init__(self, checksummed_data: _Optional[_Union[ChecksummedData, _Mapping]] = ..., read_range: _Optional[_Union[ReadRange, _Mapping]] = ..., range_end: _Optional[bool] = ...) -> None: ...

class BidiReadObjectResponse(_message.Message):
    __slots__ = ("metadata", "object_data_ranges", "read_handle")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_DATA_RANGES_FIELD_NUMBER: _ClassVar[int]
    READ_HANDLE_FIELD_NUMBER: _ClassVar[int]
    metadata: Object
    object_data_ranges: _containers.RepeatedCompositeFieldContainer[ObjectRangeData]
    read_handle: BidiReadHandle
    def __init__(self, metadata: _Optional[_Union[Object, _Mapping]] = ..., object_data_ranges: _Optional[_Iterable[_Union[ObjectRangeData, _Mapping]]] = ..., read_handle: _Optional[_Union[BidiReadHandle, _Mapping]] = ...) -> None: ...

class BidiReadObjectRedirectedError(_message.Message):
    __slots__ = ("read_handle", "routing_token")
    READ_HANDLE_FIELD_NUMBER: _ClassVar[int]
    ROUTING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    read_handle: BidiReadHandle
    routing_token: str
    def __init__(self, read_handle: _Optional[_Union[BidiReadHandle, _Mapping]] = ..., routing_token: _Optional[str] = ...) -> None: ...

class RpcStatus(_message.Message):
    __slots__ = ("code", "message", "details")
    class Detail(_message.Message):
        __slots__ = ("type_url", "value")
        TYPE_URL_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        type_url: str
        value: bytes
        def __init__(self, type_url: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[RpcStatus.Detail]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[RpcStatus.Detail, _Mapping]]] = ...) -> None: ...

class RetryInfo(_message.Message):
    __slots__ = ("retry_delay",)
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    retry_delay: _duration_pb2.Duration
    def __init__(self, retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReadRangeError(_message.Message):
    __slots__ = ("read_id", "status")
    READ_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    read_id: int
    status: RpcStatus
    def __init__(self, read_id: _Optional[int] = ..., status: _Optional[_Union[RpcStatus, _Mapping]] = ...) -> None: ...

class BidiReadObjectError(_message.Message):
    __slots__ = ("read_range_errors",)
    READ_RANGE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    read_range_errors: _containers.RepeatedCompositeFieldContainer[ReadRangeError]
    def __init__(self, read_range_errors: _Optional[_Iterable[_Union[ReadRangeError, _Mapping]]] = ...) -> None: ...

class ContentRange(_message.Message):
    __slots__ = ("start", "end", "complete_length")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    complete_length: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., complete_length: _Optional[int] = ...) -> None: ...

class ReadObjectRequest(_message.Message):
    __slots__ = ("bucket", "object", "generation", "read_offset", "read_limit", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "common_object_request_params", "read_mask")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    READ_OFFSET_FIELD_NUMBER: _ClassVar[int]
    READ_LIMIT_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    read_offset: int
    read_limit: int
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    common_object_request_params: CommonObjectRequestParams
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., read_offset: _Optional[int] = ..., read_limit: _Optional[int] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ReadObjectResponse(_message.Message):
    __slots__ = ("checksummed_data", "object_checksums", "content_range", "metadata")
    CHECKSUMMED_DATA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_RANGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    checksummed_data: ChecksummedData
    object_checksums: ObjectChecksums
    content_range: ContentRange
    metadata: Object
    def __init__(self, checksummed_data: _Optional[_Union[ChecksummedData, _Mapping]] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ..., content_range: _Optional[_Union[ContentRange, _Mapping]] = ..., metadata: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...

class WriteObjectSpec(_message.Message):
    __slots__ = ("resource", "if_generation_match", "if_generation_not_match", "if_metageneration_match", "if_metageneration_not_match", "predefined_acl", "object_size", "appendable")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    PREDEFINED_ACL_FIELD_NUMBER: _ClassVar[int]
    OBJECT_SIZE_FIELD_NUMBER: _ClassVar[int]
    APPENDABLE_FIELD_NUMBER: _ClassVar[int]
    resource: Object
    if_generation_match: int
    if_generation_not_match: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    predefined_acl: str
    object_size: int
    appendable: bool
    def __init__(self, resource: _Optional[_Union[Object, _Mapping]] = ..., if_generation_match: _Optional[int] = ..., if_generation_not_match: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., predefined_acl: _Optional[str] = ..., object_size: _Optional[int] = ..., appendable: _Optional[bool] = ...) -> None: ...

class BidiWriteHandle(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    def __init__(self, handle: _Optional[bytes] = ...) -> None: ...

class AppendObjectSpec(_message.Message):
    __slots__ = ("bucket", "object", "generation", "if_metageneration_match", "if_metageneration_not_match", "routing_token", "write_handle")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    ROUTING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WRITE_HANDLE_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    object: str
    generation: int
    if_metageneration_match: int
    if_metageneration_not_match: int
    routing_token: str
    write_handle: BidiWriteHandle
    def __init__(self, bucket: _Optional[str] = ..., object: _Optional[str] = ..., generation: _Optional[int] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., routing_token: _Optional[str] = ..., write_handle: _Optional[_Union[BidiWriteHandle, _Mapping]] = ...) -> None: ...

class WriteObjectRequest(_message.Message):
    __slots__ = ("upload_id", "write_object_spec", "write_offset", "checksummed_data", "object_checksums", "finish_write", "common_object_request_params")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_OBJECT_SPEC_FIELD_NUMBER: _ClassVar[int]
    WRITE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CHECKSUMMED_DATA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    FINISH_WRITE_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    write_object_spec: WriteObjectSpec
    write_offset: int
    checksummed_data: ChecksummedData
    object_checksums: ObjectChecksums
    finish_write: bool
    common_object_request_params: CommonObjectRequestParams
    def __init__(self, upload_id: _Optional[str] = ..., write_object_spec: _Optional[_Union[WriteObjectSpec, _Mapping]] = ..., write_offset: _Optional[int] = ..., checksummed_data: _Optional[_Union[ChecksummedData, _Mapping]] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ..., finish_write: _Optional[bool] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ...) -> None: ...

class WriteObjectResponse(_message.Message):
    __slots__ = ("persisted_size", "resource", "persisted_data_checksums")
    PERSISTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERSISTED_DATA_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    persisted_size: int
    resource: Object
    persisted_data_checksums: ObjectChecksums
    def __init__(self, persisted_size: _Optional[int] = ..., resource: _Optional[_Union[Object, _Mapping]] = ..., persisted_data_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ...) -> None: ...

class BidiWriteObjectRequest(_message.Message):
    __slots__ = ("upload_id", "write_object_spec", "append_object_spec", "write_offset", "checksummed_data", "object_checksums", "state_lookup", "flush", "finish_write", "common_object_request_params")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_OBJECT_SPEC_FIELD_NUMBER: _ClassVar[int]
    APPEND_OBJECT_SPEC_FIELD_NUMBER: _ClassVar[int]
    WRITE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CHECKSUMMED_DATA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    STATE_LOOKUP_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    FINISH_WRITE_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    write_object_spec: WriteObjectSpec
    append_object_spec: AppendObjectSpec
    write_offset: int
    checksummed_data: ChecksummedData
    object_checksums: ObjectChecksums
    state_lookup: bool
    flush: bool
    finish_write: bool
    common_object_request_params: CommonObjectRequestParams
    def __init__(self, upload_id: _Optional[str] = ..., write_object_spec: _Optional[_Union[WriteObjectSpec, _Mapping]] = ..., append_object_spec: _Optional[_Union[AppendObjectSpec, _Mapping]] = ..., write_offset: _Optional[int] = ..., checksummed_data: _Optional[_Union[ChecksummedData, _Mapping]] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ..., state_lookup: _Optional[bool] = ..., flush: _Optional[bool] = ..., finish_write: _Optional[bool] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ...) -> None: ...

class BidiWriteObjectResponse(_message.Message):
    __slots__ = ("persisted_size", "resource", "write_handle", "persisted_data_checksums")
    PERSISTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    WRITE_HANDLE_FIELD_NUMBER: _ClassVar[int]
    PERSISTED_DATA_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    persisted_size: int
    resource: Object
    write_handle: BidiWriteHandle
    persisted_data_checksums: ObjectChecksums
    def __init__(self, persisted_size: _Optional[int] = ..., resource: _Optional[_Union[Object, _Mapping]] = ..., write_handle: _Optional[_Union[BidiWriteHandle, _Mapping]] = ..., persisted_data_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ...) -> None: ...

class StartResumableWriteRequest(_message.Message):
    __slots__ = ("write_object_spec", "common_object_request_params", "object_checksums")
    WRITE_OBJECT_SPEC_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    write_object_spec: WriteObjectSpec
    common_object_request_params: CommonObjectRequestParams
    object_checksums: ObjectChecksums
    def __init__(self, write_object_spec: _Optional[_Union[WriteObjectSpec, _Mapping]] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ..., object_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ...) -> None: ...

class StartResumableWriteResponse(_message.Message):
    __slots__ = ("upload_id",)
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    def __init__(self, upload_id: _Optional[str] = ...) -> None: ...

class QueryWriteStatusRequest(_message.Message):
    __slots__ = ("upload_id", "common_object_request_params")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    COMMON_OBJECT_REQUEST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    common_object_request_params: CommonObjectRequestParams
    def __init__(self, upload_id: _Optional[str] = ..., common_object_request_params: _Optional[_Union[CommonObjectRequestParams, _Mapping]] = ...) -> None: ...

class QueryWriteStatusResponse(_message.Message):
    __slots__ = ("persisted_size", "resource", "persisted_data_checksums")
    PERSISTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERSISTED_DATA_CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    persisted_size: int
    resource: Object
    persisted_data_checksums: ObjectChecksums
    def __init__(self, persisted_size: _Optional[int] = ..., resource: _Optional[_Union[Object, _Mapping]] = ..., persisted_data_checksums: _Optional[_Union[ObjectChecksums, _Mapping]] = ...) -> None: ...

class CancelResumableWriteRequest(_message.Message):
    __slots__ = ("upload_id",)
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    def __init__(self, upload_id: _Optional[str] = ...) -> None: ...

class CancelResumableWriteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TestIamPermissionsRequest(_message.Message):
    __slots__ = ("resource", "permissions")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    resource: str
    permissions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, resource: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ...) -> None: ...

class TestIamPermissionsResponse(_message.Message):
    __slots__ = ("permissions",)
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, permissions: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStorageLayoutRequest(_message.Message):
    __slots__ = ("name", "prefix", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    prefix: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., prefix: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StorageLayout(_message.Message):
    __slots__ = ("name", "location", "location_type", "custom_placement_config", "hierarchical_namespace")
    class CustomPlacementConfig(_message.Message):
        __slots__ = ("data_locations",)
        DATA_LOCATIONS_FIELD_NUMBER: _ClassVar[int]
        data_locations: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, data_locations: _Optional[_Iterable[str]] = ...) -> None: ...
    class HierarchicalNamespace(_message.Message):
        __slots__ = ("enabled",)
        ENABLED_FIELD_NUMBER: _ClassVar[int]
        enabled: bool
        def __init__(self, enabled: _Optional[bool] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_PLACEMENT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    HIERARCHICAL_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    location: str
    location_type: str
    custom_placement_config: StorageLayout.CustomPlacementConfig
    hierarchical_namespace: StorageLayout.HierarchicalNamespace
    def __init__(self, name: _Optional[str] = ..., location: _Optional[str] = ..., location_type: _Optional[str] = ..., custom_placement_config: _Optional[_Union[StorageLayout.CustomPlacementConfig, _Mapping]] = ..., hierarchical_namespace: _Optional[_Union[StorageLayout.HierarchicalNamespace, _Mapping]] = ...) -> None: ...

class PendingRenameInfo(_message.Message):
    __slots__ = ("operation",)
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    operation: str
    def __init__(self, operation: _Optional[str] = ...) -> None: ...

class Folder(_message.Message):
    __slots__ = ("name", "metageneration", "create_time", "update_time", "pending_rename_info")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METAGENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PENDING_RENAME_INFO_FIELD_NUMBER: _ClassVar[int]
    name: str
    metageneration: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    pending_rename_info: PendingRenameInfo
    def __init__(self, name: _Optional[str] = ..., metageneration: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pending_rename_info: _Optional[_Union[PendingRenameInfo, _Mapping]] = ...) -> None: ...

class CreateFolderRequest(_message.Message):
    __slots__ = ("parent", "folder", "folder_id", "recursive", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    FOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    folder: Folder
    folder_id: str
    recursive: bool
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., folder: _Optional[_Union[Folder, _Mapping]] = ..., folder_id: _Optional[str] = ..., recursive: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetFolderRequest(_message.Message):
    __slots__ = ("if_metageneration_match", "if_metageneration_not_match", "request_id", "name")
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    if_metageneration_match: int
    if_metageneration_not_match: int
    request_id: str
    name: str
    def __init__(self, if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteFolderRequest(_message.Message):
    __slots__ = ("if_metageneration_match", "if_metageneration_not_match", "request_id", "name")
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    if_metageneration_match: int
    if_metageneration_not_match: int
    request_id: str
    name: str
    def __init__(self, if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteFolderRecursiveRequest(_message.Message):
    __slots__ = ("name", "if_metageneration_match", "if_metageneration_not_match", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    if_metageneration_match: int
    if_metageneration_not_match: int
    request_id: str
    def __init__(self, name: _Optional[str] = ..., if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListFoldersRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "prefix", "lexicographic_start", "lexicographic_end", "delimiter", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LEXICOGRAPHIC_START_FIELD_NUMBER: _ClassVar[int]
    LEXICOGRAPHIC_END_FIELD_NUMBER: _ClassVar[int]
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    prefix: str
    lexicographic_start: str
    lexicographic_end: str
    delimiter: str
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., prefix: _Optional[str] = ..., lexicographic_start: _Optional[str] = ..., lexicographic_end: _Optional[str] = ..., delimiter: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListFoldersResponse(_message.Message):
    __slots__ = ("folders", "next_page_token")
    FOLDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    folders: _containers.RepeatedCompositeFieldContainer[Folder]
    next_page_token: str
    def __init__(self, folders: _Optional[_Iterable[_Union[Folder, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RenameFolderRequest(_message.Message):
    __slots__ = ("if_metageneration_match", "if_metageneration_not_match", "request_id", "name", "destination_folder_id")
    IF_METAGENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_METAGENERATION_NOT_MATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    if_metageneration_match: int
    if_metageneration_not_match: int
    request_id: str
    name: str
    destination_folder_id: str
    def __init__(self, if_metageneration_match: _Optional[int] = ..., if_metageneration_not_match: _Optional[int] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ..., destination_folder_id: _Optional[str] = ...) -> None: ...

class CommonLongRunningOperationMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "update_time", "type", "requested_cancellation", "progress_percent")
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_CANCELLATION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    type: str
    requested_cancellation: bool
    progress_percent: int
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., type: _Optional[str] = ..., requested_cancellation: _Optional[bool] = ..., progress_percent: _Optional[int] = ...) -> None: ...

class RenameFolderMetadata(_message.Message):
    __slots__ = ("common_metadata", "source_folder_id", "destination_folder_id")
    COMMON_METADATA_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    common_metadata: CommonLongRunningOperationMetadata
    source_folder_id: str
    destination_folder_id: str
    def __init__(self, common_metadata: _Optional[_Union[CommonLongRunningOperationMetadata, _Mapping]] = ..., source_folder_id: _Optional[str] = ..., destination_folder_id: _Optional[str] = ...) -> None: ...

class DeleteFolderRecursiveMetadata(_message.Message):
    __slots__ = ("common_metadata", "folder_id")
    COMMON_METADATA_FIELD_NUMBER: _ClassVar[int]
    FOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    common_metadata: CommonLongRunningOperationMetadata
    folder_id: str
    def __init__(self, common_metadata: _Optional[_Union[CommonLongRunningOperationMetadata, _Mapping]] = ..., folder_id: _Optional[str] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("name", "metadata", "done", "error", "response")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    metadata: _any_pb2.Any
    done: bool
    error: RpcStatus
    response: _any_pb2.Any
    def __init__(self, name: _Optional[str] = ..., metadata: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., done: _Optional[bool] = ..., error: _Optional[_Union[RpcStatus, _Mapping]] = ..., response: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...

class GetOperationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
