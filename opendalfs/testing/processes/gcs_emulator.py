"""Run ``gcp-storage-emulator``, extended by behaviour of the real service.

Google Cloud Storage has a default content type, stores empty objects and names that end in a slash, honours
``ifGenerationMatch``, and has a multipart upload in its XML API, with which OpenDAL writes large objects.
The emulator lacks these; they are added here to its storage and routes.

It runs as a script: ``python gcs_emulator.py HOST PORT BUCKET``.
"""

from __future__ import annotations

import http.server
import sys
import xml.etree.ElementTree as ElementTree
from http import HTTPStatus
from itertools import count
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import objects

# No type stubs exist for the emulator, so its requests and responses are of type Any.
Parts = dict[int, bytes]


def _add_content_type() -> None:
    """Store objects without a content type under the default of the real service."""
    make = objects._make_object_resource

    def with_type(base: str, bucket: str, name: str, kind: str | None, *rest: Any, **named: Any) -> Any:
        return make(base, bucket, name, kind or "application/octet-stream", *rest, **named)

    objects._make_object_resource = with_type


def _accept_empty_bodies() -> None:
    """Read a missing body as an empty one, as in an upload of an empty object."""
    read = server._read_data

    def read_or_empty(handler: Any, query: dict[str, list[str]]) -> Any:
        data = read(handler, query)
        return b"" if data is None else data

    server._read_data = read_or_empty


def _insert_if_absent(request: Any, response: Any, storage: Any) -> None:
    """Store an object; fail if it exists and the request has ``ifGenerationMatch=0``."""
    if request.query.get("ifGenerationMatch") == ["0"]:
        found = storage.objects.get(request.params["bucket_name"], {})
        if request.query["name"][0] in found:
            response.status = HTTPStatus.PRECONDITION_FAILED
            return
    objects.insert(request, response, storage)


class MultipartUploads:
    """The multipart upload of the XML API: start, parts, completion."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._uploads: dict[str, Parts] = {}

    def post(self, request: Any, response: Any, storage: Any) -> None:
        """Start an upload, or complete one."""
        if "uploadId" not in request.query:
            upload = str(next(self._numbers))
            self._uploads[upload] = {}
            self._answer(response, "InitiateMultipartUploadResult", UploadId=upload)
            return
        parts = self._uploads.pop(request.query["uploadId"][0])
        listed = ElementTree.fromstring(request.data).iter()
        numbers = [int(node.text or 0) for node in listed if node.tag.endswith("PartNumber")]
        request._data = b"".join(parts[number] for number in numbers)
        objects.xml_upload(request, response, storage)
        self._answer(response, "CompleteMultipartUploadResult", ETag='"complete"')

    def put(self, request: Any, response: Any, storage: Any) -> None:
        """Store a part or a whole object."""
        if "uploadId" not in request.query:
            objects.xml_upload(request, response, storage)
            return
        number = request.query["partNumber"][0]
        self._uploads[request.query["uploadId"][0]][int(number)] = request.data
        response["ETag"] = f'"{number}"'

    def delete(self, request: Any, response: Any, storage: Any) -> None:
        """Abort an upload."""
        self._uploads.pop(request.query["uploadId"][0], None)

    @staticmethod
    def _answer(response: Any, root: str, **fields: str) -> None:
        document = ElementTree.Element(root)
        for name, value in fields.items():
            ElementTree.SubElement(document, name).text = value
        response["Content-type"] = "application/xml"
        response._content = ElementTree.tostring(document)


def _serve_connections_in_threads() -> None:
    """Serve each connection in a thread: a client may open one and send on it later, or never."""
    http.server.HTTPServer = http.server.ThreadingHTTPServer  # type: ignore[misc]


def _add_routes() -> None:
    """Add the XML API and the precondition; allow names that end in a slash everywhere."""
    uploads = MultipartUploads()
    routes = [(path.replace(".*[^/]+", ".+"), dict(by)) for path, by in server.HANDLERS]
    # The last route is the XML API's, `/bucket/object`.
    routes[-1][1].update(POST=uploads.post, PUT=uploads.put, DELETE=uploads.delete)
    for _, by_method in routes:
        if by_method.get("POST") is objects.insert:
            by_method["POST"] = _insert_if_absent
    server.HANDLERS = tuple(routes)


def main(host: str, port: str, bucket: str) -> None:
    """Serve until killed."""
    _serve_connections_in_threads()
    _add_content_type()
    _accept_empty_bodies()
    _add_routes()
    server.create_server(host, int(port), in_memory=True, default_bucket=bucket).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
