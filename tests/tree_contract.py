"""What every storage promises whose tree can be changed, as tests: folders, removing, renaming, facts.

A subclass of `TreeContract`, named `Test...`, gives the fixture `place` (storage_place.py).
"""

from __future__ import annotations

import pytest
from storage_place import Can, Place

from ftpsvc import model
from ftpsvc.model import Facts


class TreeContract:
    """Changing the tree."""

    def test_a_folder_is_made_once(self, place: Place) -> None:
        place.run(place.storage.make_dir("/new"))
        assert (place.folder / "new").is_dir()
        with pytest.raises(model.Unavailable):
            place.run(place.storage.make_dir("/new"))

    def test_a_folder_is_not_made_without_its_parent(self, place: Place) -> None:
        with pytest.raises(model.Unavailable):
            place.run(place.storage.make_dir("/missing/new"))
        assert place.names() == set()

    def test_a_file_is_removed_and_a_folder_is_not(self, place: Place) -> None:
        (place.folder / "file").touch()
        (place.folder / "folder").mkdir()
        place.run(place.storage.remove("/file"))
        for path in ("/folder", "/file"):
            with pytest.raises(model.Unavailable):
                place.run(place.storage.remove(path))
        assert place.names() == {"folder"}

    def test_removing_a_link_leaves_what_it_leads_to(self, place: Place) -> None:
        if place.lacks(Can.LINK):
            pytest.skip("there are no links")
        (place.folder / "file").touch()
        (place.folder / "link").symlink_to("file")
        place.run(place.storage.remove("/link"))
        assert place.names() == {"file"}

    def test_only_an_empty_folder_is_removed(self, place: Place) -> None:
        (place.folder / "full").mkdir()
        (place.folder / "full" / "file").touch()
        (place.folder / "empty").mkdir()
        place.run(place.storage.remove_dir("/empty"))
        for path in ("/full", "/full/file", "/"):
            with pytest.raises(model.Unavailable):
                place.run(place.storage.remove_dir(path))
        assert place.names() == {"full"}

    def test_a_file_takes_the_place_of_another(self, place: Place) -> None:
        (place.folder / "a").write_bytes(b"a")
        (place.folder / "b").write_bytes(b"b")
        place.run(place.storage.rename("/a", "/b"))
        assert place.names() == {"b"}
        assert (place.folder / "b").read_bytes() == b"a"

    @pytest.mark.parametrize(("source", "target"), [("/missing", "/x"), ("/a", "/full"), ("/full", "/full/in")])
    def test_a_rename_that_would_lose_something_is_refused(self, place: Place, source: str, target: str) -> None:
        (place.folder / "a").touch()
        (place.folder / "full").mkdir()
        (place.folder / "full" / "file").touch()
        with pytest.raises(model.TransferError):
            place.run(place.storage.rename(source, target))
        assert place.names() == {"a", "full"}
        assert place.names("/full") == {"file"}

    def test_time_and_mode_are_set_apart_from_each_other(self, place: Place) -> None:
        (place.folder / "file").touch()
        if place.lacks(Can.SET_FACTS):
            with pytest.raises(model.NotImplementedHere):
                place.run(place.storage.set_facts("/file", Facts(modified=1_000_000_000)))
            return
        place.run(place.storage.set_facts("/file", Facts(modified=1_000_000_000)))
        place.run(place.storage.set_facts("/file", Facts(mode=0o604)))
        status = (place.folder / "file").stat()
        assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_000_000_000, 0o604)

    def test_the_space_that_is_left_is_known(self, place: Place) -> None:
        if place.lacks(Can.TELL_SPACE):
            with pytest.raises(model.NotImplementedHere):
                place.run(place.storage.space("/"))
            return
        assert place.run(place.storage.space("/")) > 0
