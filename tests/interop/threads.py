#!/usr/bin/env python3
"""Prints every thread and frame of every snapshot of a segment, with nothing of hangsnap but its .proto file.

    protoc --python_out=DIR -I proto hangsnap/v1/snapshot.proto
    PYTHONPATH=DIR threads.py SEGMENT

A line a thread: the snapshot's number, the thread's id, name and state, and its frames, innermost first, each as
MODULE+FILE_ADDRESS, or as a run-time address where it lies in no module.
"""

import struct
import sys
import zlib

from hangsnap.v1 import snapshot_pb2 as format


def records(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"HANGSEG1"
    at = 8
    while at < len(data):
        marker, _salt, length, checksum, _head = struct.unpack_from("<4sIIII", data, at)
        payload = data[at + 20 : at + 20 + length]
        assert marker == b"\xf5rec" and zlib.crc32(payload) == checksum
        record = format.Record.FromString(payload)
        if record.WhichOneof("kind") == "packed":
            record = format.Record.FromString(zlib.decompress(record.packed))
        yield record
        at += 20 + length


class Reader:
    """Keeps the tables, and each thread as the last record left it."""

    def whole(self, snapshot):
        self.strings, self.modules, self.frames, self.stacks = [], [], [], []
        self.add(snapshot.tables)
        self.threads = {thread.tid: thread for thread in snapshot.threads}

    def change(self, change):
        self.add(change.tables)
        for tid in change.gone:
            del self.threads[tid]
        for thread in change.threads:
            self.threads[thread.tid] = thread
        order = sorted(self.threads)
        for changed in change.changed:
            thread = self.threads[order[changed.place]]
            for field in ("name", "state", "stack"):
                if changed.HasField(field):
                    setattr(thread, field, getattr(changed, field))

    def add(self, tables):
        self.strings += tables.strings
        self.modules += tables.modules
        self.frames += tables.frames
        for stack in tables.stacks:
            frames = list(stack.frames)
            if stack.shared_frames:
                frames += self.stacks[stack.shared_with][-stack.shared_frames :]
            self.stacks.append(frames)

    def frame(self, number):
        frame = self.frames[number]
        if frame.module_plus_one:
            return f"{self.strings[self.modules[frame.module_plus_one - 1].path]}+{frame.address:#x}"
        return f"{frame.address:#x}"

    def print(self, number):
        for tid, thread in sorted(self.threads.items()):
            frames = [self.frame(frame) for frame in self.stacks[thread.stack]]
            print(number, tid, self.strings[thread.name], chr(thread.state), *frames, sep="\t")


def main():
    reader = Reader()
    for record in records(sys.argv[1]):
        kind = record.WhichOneof("kind")
        if kind == "snapshot":
            reader.whole(record.snapshot)
            reader.print(record.snapshot.number)
        elif kind == "change":
            reader.change(record.change)
            reader.print(record.change.number)


main()
