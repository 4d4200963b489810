"""What every storage promises, as tests. A storage is finished when these pass on it, and those of tree_contract.py.

A subclass of `StorageContract`, named `Test...`, gives the fixture `place` (storage_place.py).
"""

from __future__ import annotations

import os

import pytest
from storage_place import Can, Place
from support import collected

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.model import Facts, Kind, Stored, Whole
from ftpsvc.storage import SMALL

#: Larger than anything that is done at once, in one frame or in one read.
BIG = bytes(range(256)) * 10_000


def is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


class StorageContract:
    """Looking, reading and writing."""

    #: More entries than a listing brings at once.
    MANY = 700

    # -- looking

    def test_a_file_and_a_folder_are_told_apart(self, place: Place) -> None:
        (place.folder / "file").write_bytes(b"12345")
        place.set_time("file", 1795327140_123_456_789)
        (place.folder / "file").chmod(0o640)
        (place.folder / "folder").mkdir()
        entry = place.run(place.storage.stat("/file"))
        assert (entry.name, entry.kind, entry.size, entry.mode) == ("file", Kind.FILE, 5, 0o640)
        assert entry.modified == 1795327140_123_456_789
        assert place.run(place.storage.stat("/folder")).kind is Kind.DIRECTORY
        assert place.run(place.storage.stat("/")).kind is Kind.DIRECTORY

    def test_two_names_of_one_file_are_known_as_such(self, place: Place) -> None:
        if place.lacks(Can.LINK):
            pytest.skip("there are no such files")
        (place.folder / "a").write_bytes(b"")
        os.link(place.folder / "a", place.folder / "b")
        (place.folder / "c").write_bytes(b"")
        a, b, c = (place.run(place.storage.stat(path)).unique for path in ("/a", "/b", "/c"))
        assert a == b != c

    @pytest.mark.parametrize("path", ["/missing", "/missing/x", "/file/x"])
    def test_what_is_not_there_is_unavailable(self, place: Place, path: str) -> None:
        (place.folder / "file").write_bytes(b"")
        for work in (place.storage.stat(path), collected(place.storage.list(path))):
            with pytest.raises(model.Unavailable):
                place.run(work)

    def test_a_listing_has_every_entry_once(self, place: Place) -> None:
        names = {f"file {number}" for number in range(self.MANY)}
        for name in names:
            (place.folder / name).touch()
        (place.folder / "folder").mkdir()
        entries = place.run(collected(place.storage.list("/")))
        assert sorted(entry.name for entry in entries) == sorted({*names, "folder"})
        assert {entry.name: entry.kind for entry in entries}["folder"] is Kind.DIRECTORY

    def test_a_listing_shows_no_part_and_nothing_in_an_empty_folder(self, place: Place) -> None:
        (place.folder / "empty").mkdir()
        (place.folder / "empty" / ".ftpsvc-0123").touch()
        assert place.names("/empty") == set()
        (place.folder / "empty" / ".ftpsvc-0123").unlink()

    @pytest.mark.parametrize(
        "name", [b"\xe4\xf6\xfc", b" two  words ", b"-la", "\u2028".encode(), b"\xff\xfe", b"a;b=c"]
    )
    def test_any_name_is_listed_looked_at_and_read(self, place: Place, name: bytes) -> None:
        path = "/" + model.decode_name(name)
        if place.lacks(Can.BEAR_ANY_NAME) and not is_utf8(name):
            with pytest.raises(model.InvalidName):
                place.write(path, b"content")
            assert place.names() == set()
            return
        (place.folder / os.fsdecode(name)).write_bytes(b"content")
        (entry,) = place.run(collected(place.storage.list("/")))
        assert model.encode_name(entry.name) == name
        assert place.run(place.storage.stat("/" + entry.name)).size == 7
        assert place.read("/" + entry.name) == b"content"

    # -- reading

    @pytest.mark.parametrize("data", [b"", b"x", b"\r\nDONE\r\n", BIG], ids=["none", "one", "line", "big"])
    def test_a_file_is_read_as_it_is(self, place: Place, data: bytes) -> None:
        (place.folder / "file").write_bytes(data)
        assert place.read("/file") == data

    @pytest.mark.parametrize("offset", [1, 65536, len(BIG) - 1, len(BIG)])
    def test_a_file_is_read_from_an_offset(self, place: Place, offset: int) -> None:
        (place.folder / "file").write_bytes(BIG)
        assert place.read("/file", offset) == BIG[offset:]

    def test_an_offset_behind_the_end_is_refused(self, place: Place) -> None:
        (place.folder / "file").write_bytes(b"12345")
        with pytest.raises(model.BadOffset):
            place.read("/file", 6)

    def test_what_is_read_to_its_end_has_its_size_time_and_mode(self, place: Place) -> None:
        (place.folder / "file").write_bytes(BIG)
        place.set_time("file", 1_000_000_001)
        (place.folder / "file").chmod(0o600)

        async def read() -> model.Entry:
            file = await place.storage.open_read("/file", 10)
            try:
                while await file.read(1 << 20):
                    pass
                return file.entry
            finally:
                await file.close()

        entry = place.run(read())
        assert (entry.name, entry.size, entry.modified, entry.mode) == ("file", len(BIG), 1_000_000_001, 0o600)

    def test_a_file_that_is_closed_early_may_be_closed_twice(self, place: Place) -> None:
        (place.folder / "file").write_bytes(BIG)

        async def begin() -> bytes:
            file = await place.storage.open_read("/file")
            some = bytes(await file.read(10))
            await file.close()
            await file.close()
            return some

        some = place.run(begin())
        assert some
        assert BIG.startswith(some)
        assert place.read("/file") == BIG

    @pytest.mark.parametrize("path", ["/missing", "/", "/folder", "/fifo"])
    def test_what_is_no_plain_file_is_not_read(self, place: Place, path: str) -> None:
        (place.folder / "folder").mkdir()
        place.make_fifo()
        with pytest.raises(model.Unavailable):
            place.read(path)

    # -- writing

    @pytest.mark.parametrize("data", [b"", b"x", b"DONE\r\n", BIG], ids=["none", "one", "line", "big"])
    def test_what_was_committed_is_there(self, place: Place, data: bytes) -> None:
        stored = place.write("/file", data)
        assert stored == Stored(len(data), digest_of(data))
        assert (place.folder / "file").read_bytes() == data
        assert place.names() == {"file"}

    def test_a_file_is_replaced_with_a_right_digest(self, place: Place) -> None:
        (place.folder / "file").write_bytes(BIG)
        place.write("/file", b"new", digest=digest_of(b"new"))
        assert (place.folder / "file").read_bytes() == b"new"

    def test_time_and_mode_are_set_with_the_commit(self, place: Place) -> None:
        place.write("/file", b"x", Facts(1_795_327_140_500_000_000, 0o600))
        status = (place.folder / "file").stat()
        assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_795_327_140_500_000_000, 0o600)

    def test_a_replaced_file_keeps_its_mode(self, place: Place) -> None:
        if place.lacks(Can.KEEP_A_MODE):
            pytest.skip("the mode of a file that is replaced is not asked for")
        (place.folder / "file").touch()
        (place.folder / "file").chmod(0o711)
        place.write("/file", b"x")
        assert (place.folder / "file").stat().st_mode & 0o777 == 0o711

    @pytest.mark.parametrize("data", [b"little", BIG], ids=["little", "big"])
    def test_nothing_is_seen_before_the_commit_and_nothing_after_an_abort(self, place: Place, data: bytes) -> None:
        (place.folder / "old").write_bytes(b"old")

        async def give_up() -> None:
            for path in ("/old", "/new"):
                file = await place.storage.open_write(path)
                await file.write(data)
                await file.write(data)
                assert (place.folder / "old").read_bytes() == b"old"
                assert not (place.folder / "new").exists()
                await file.abort()
                await file.abort()

        place.run(give_up())
        assert (place.folder / "old").read_bytes() == b"old"
        assert place.names() == {"old"}
        assert not place.parts()

    def test_many_pieces_make_one_file(self, place: Place) -> None:
        pieces = [bytes([number % 256]) * (number * 37) for number in range(1, 150)]

        async def write() -> Stored:
            file = await place.storage.open_write("/file")
            for piece in pieces:
                await file.write(piece)
            stored = await file.commit()
            await file.abort()  # which changes nothing any more
            return stored

        assert place.run(write()).digest == digest_of(b"".join(pieces))
        assert (place.folder / "file").read_bytes() == b"".join(pieces)

    @pytest.mark.parametrize("path", ["/missing/file", "/folder", "/file/x", "/", "/fifo"])
    def test_what_can_not_be_written_is_refused_and_leaves_nothing(self, place: Place, path: str) -> None:
        (place.folder / "folder").mkdir()
        (place.folder / "file").write_bytes(b"old")
        special = place.make_fifo()
        if path == "/fifo" and not special:
            pytest.skip("there are no such files")
        with pytest.raises(model.TransferError):
            place.write(path, b"data")
        assert place.names() == {"folder", "file"} | special
        assert (place.folder / "file").read_bytes() == b"old"

    def test_a_name_of_255_bytes_is_written(self, place: Place) -> None:
        place.write("/" + "n" * 255, BIG)
        place.write("/" + "m" * 255, b"little")
        assert place.names() == {"n" * 255, "m" * 255}

    # -- small files, whole

    @pytest.mark.parametrize("data", [b"", b"x", b"\r\nDONE\r\n", BIG[:SMALL]], ids=["none", "one", "line", "limit"])
    def test_a_small_file_is_fetched_whole_with_its_facts(self, place: Place, data: bytes) -> None:
        (place.folder / "file").write_bytes(data)
        place.set_time("file", 5_000_000_001)
        (place.folder / "file").chmod(0o640)
        assert place.run(place.storage.fetch("/file")) == Whole(data, Facts(5_000_000_001, 0o640))

    def test_a_file_that_is_not_small_is_not_fetched(self, place: Place) -> None:
        (place.folder / "file").write_bytes(BIG)
        with pytest.raises(model.TooLarge):
            place.run(place.storage.fetch("/file"))
        assert place.read("/file") == BIG

    @pytest.mark.parametrize("path", ["/missing", "/", "/folder", "/fifo"])
    def test_what_is_no_plain_file_is_not_fetched(self, place: Place, path: str) -> None:
        (place.folder / "folder").mkdir()
        place.make_fifo()
        with pytest.raises(model.Unavailable):
            place.run(place.storage.fetch(path))

    @pytest.mark.parametrize("data", [b"", b"x", BIG[:SMALL]], ids=["none", "one", "limit"])
    def test_a_small_file_is_put_whole_with_its_facts(self, place: Place, data: bytes) -> None:
        (place.folder / "file").write_bytes(b"old")
        whole = Whole(data, Facts(5_000_000_001, 0o640))
        assert place.run(place.storage.put("/file", whole)) == Stored(len(data), digest_of(data))
        status = (place.folder / "file").stat()
        assert (status.st_mtime_ns, status.st_mode & 0o777) == (5_000_000_001, 0o640)
        assert (place.folder / "file").read_bytes() == data

    @pytest.mark.parametrize("path", ["/missing/file", "/folder", "/"])
    def test_what_can_not_be_put_is_refused_and_leaves_nothing(self, place: Place, path: str) -> None:
        (place.folder / "folder").mkdir()
        with pytest.raises(model.TransferError):
            place.run(place.storage.put(path, Whole(b"x")))
        assert place.names() == {"folder"}
        assert place.names("/folder") == set()

    # -- going on, and adding

    def test_an_upload_goes_on_from_what_the_file_has(self, place: Place) -> None:
        (place.folder / "file").write_bytes(BIG[:100_000])

        async def go_on() -> Stored:
            file = await place.storage.open_write("/file", 100_000)
            await file.write(BIG[100_000:])
            return await file.commit()

        if place.lacks(Can.GO_ON):
            with pytest.raises(model.BadParameter):
                place.run(go_on())
            assert (place.folder / "file").read_bytes() == BIG[:100_000]
            return
        assert place.run(go_on()) == Stored(len(BIG), digest_of(BIG[100_000:]))
        assert (place.folder / "file").read_bytes() == BIG

    def test_an_upload_can_not_go_on_behind_the_end(self, place: Place) -> None:
        (place.folder / "file").write_bytes(b"12345")

        async def go_on() -> None:
            file = await place.storage.open_write("/file", 6)
            await file.commit()

        with pytest.raises(model.BadParameter if place.lacks(Can.GO_ON) else model.BadOffset):
            place.run(go_on())
        assert (place.folder / "file").read_bytes() == b"12345"

    @pytest.mark.parametrize("before", [None, b"", b"before "])
    def test_adding_puts_the_bytes_at_the_end(self, place: Place, before: bytes | None) -> None:
        if before is not None:
            (place.folder / "file").write_bytes(before)

        async def add() -> Stored:
            file = await place.storage.open_append("/file")
            await file.write(b"and ")
            await file.write(b"after")
            return await file.commit()

        if place.lacks(Can.ADD) and before is not None:
            with pytest.raises(model.NotImplementedHere):
                place.run(add())
            assert (place.folder / "file").read_bytes() == before
            return
        whole = (before or b"") + b"and after"
        assert place.run(add()) == Stored(len(whole), digest_of(b"and after"))
        assert (place.folder / "file").read_bytes() == whole

    @pytest.mark.parametrize("before", [None, b"before"])
    def test_adding_that_is_given_up_leaves_the_file_as_it_was(self, place: Place, before: bytes | None) -> None:
        if before is not None:
            (place.folder / "file").write_bytes(before)
            place.set_time("file", 1795327140_123_456_789)

        async def give_up() -> None:
            file = await place.storage.open_append("/file")
            await file.write(BIG)
            await file.abort()

        if place.lacks(Can.ADD) and before is not None:
            with pytest.raises(model.NotImplementedHere):
                place.run(give_up())
        else:
            place.run(give_up())
        assert place.names() == ({"file"} if before else set())
        if before is not None:
            assert (place.folder / "file").read_bytes() == before
            assert place.run(place.storage.stat("/file")).modified == 1795327140_123_456_789
