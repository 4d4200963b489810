"""For every fault that docs/architecture.md says something of, the tests that inject it; none of them may go missing.

A row without a test is a promise that nobody has looked at. The names of docs/security.md are held to the same.
"""

from __future__ import annotations

import ast
import functools
import pkgutil
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"

#: The first column of the table in "What 226 means", and the tests for it, in MODE I and in MODE S.
FAULTS = {
    "FAIL (the client gave up), a wrong digest, facts that can't be read": """
        test_inline.py::test_fail_changes_nothing
        test_inline.py::test_a_digest_that_differs_in_value_length_or_form_changes_nothing
        test_diskfiles.py::test_a_wrong_digest_changes_nothing
    """,
    "the connection is lost or idle too long": """
        test_sockets.py::test_a_reset_in_the_middle_of_an_upload_keeps_the_old_file_and_the_part
        test_inline.py::test_a_connection_that_ends_inside_a_sequence_changes_nothing
        test_idleness.py::test_an_upload_that_stalls_is_cut_off_and_its_part_kept
        test_data_connections.py::test_a_transfer_that_stands_still_is_broken_off_and_the_session_goes_on
        test_half_closed.py::test_an_upload_that_ends_in_its_middle_is_none_and_its_part_is_kept
    """,
    "the server stops, and the upload hasn't finished within `--drain-time`": """
        test_draining.py::test_an_upload_that_does_not_finish_is_cut_off_with_421_and_its_part_kept
        test_service.py::test_the_end_leaves_nothing_half_done
        test_stream_safety.py::test_a_server_that_is_stopped_keeps_the_old_file_and_the_part
    """,
    "a data connection is reset, or in TLS ends without the end of TLS": """
        test_stream_safety.py::test_a_reset_keeps_the_old_file_and_the_part
        test_stream_safety.py::test_what_a_reset_left_is_gone_on_from
        test_stream_safety.py::test_a_reset_of_what_is_added_in_place_cuts_the_file_back
        test_stream_safety.py::test_the_end_of_the_connection_without_the_end_of_tls_is_a_cut
        test_attacks_data.py::test_a_reset_before_the_command_is_426_and_the_session_goes_on
    """,
    "the control connection ends before the data does, even in order": """
        test_stream_safety.py::test_a_lost_control_connection_keeps_the_old_file_and_the_part
        test_stream_safety.py::test_a_client_that_is_killed_has_not_finished
        test_half_closed.py::test_a_transfer_on_its_own_connection_does_not_outlive_the_control_connection
    """,
    "the data connection, or its TLS, never comes about": """
        test_stream_safety.py::test_a_data_connection_that_never_comes_changes_nothing
        test_stream_safety.py::test_a_restart_whose_data_connection_never_comes_keeps_the_part_of_before
        test_tls_data.py::test_clear_text_on_a_data_connection_is_522_and_nothing_is_stored_or_sent
    """,
    "ABOR, in whatever form, before the end of the data": """
        test_stream_safety.py::test_abor_stops_an_upload_and_keeps_the_old_file
        test_stream_safety.py::test_abor_and_the_end_of_the_data_at_once_have_one_outcome
        test_stream_safety.py::test_abor_stops_a_transfer_that_waits_for_its_connection
        test_stream_safety.py::test_abor_stops_the_handshake_of_a_data_connection
        test_stream_safety.py::test_abor_stops_a_download_that_nobody_reads
    """,
    "another number of bytes than ALLO declared": """
        test_stream_safety.py::test_an_upload_that_ends_in_order_has_the_size_that_was_declared
        test_parameters.py::test_an_upload_of_another_size_is_not_complete
        test_parameters.py::test_what_arrived_of_a_declared_upload_can_be_gone_on_from
    """,
    "two uploads of one name at once": """
        test_stream_safety.py::test_two_writers_each_store_a_whole_file
        test_diskfiles.py::test_two_writers_of_one_name_both_write_a_whole_file_and_the_last_wins
        test_diskfiles.py::test_what_is_to_be_new_gives_way_to_what_came_meanwhile
    """,
    "somebody else wrote to the file or its part, since it was told, or between STOR behind REST and its data": """
        test_same_name.py::test_who_was_told_of_a_file_goes_on_from_that_one_or_not_at_all
        test_same_name.py::test_who_asked_for_a_part_goes_on_from_that_one_or_not_at_all
        test_diskfiles.py::test_a_part_that_another_has_since_the_rest_makes_no_mixture
        test_diskfiles.py::test_a_file_that_is_another_since_the_rest_makes_no_mixture
        test_diskfiles.py::test_a_file_that_becomes_another_while_it_is_copied_makes_no_mixture
    """,
    "REST to the end of an old file that isn't how the upload that broke off begins, by who knows only its size": """
        test_kept_parts.py::test_an_old_file_is_not_taken_for_the_beginning_of_the_upload_that_broke_off
    """,
    "somebody reads meanwhile": """
        test_stream_safety.py::test_a_reader_sees_the_old_file_whole_until_the_226
        storage_contract.py::test_nothing_is_seen_before_the_commit_and_nothing_after_an_abort
    """,
    "the disk is full, or fails": """
        test_full_disk.py::test_a_full_disk_keeps_the_old_file_and_gives_the_space_back
        test_full_disk.py::test_a_full_disk_gives_its_space_back
        test_commits.py::test_a_file_that_can_not_be_synced_is_not_committed
    """,
    "the session ends while the commit is under way": """
        test_commits.py::test_a_commit_goes_on_to_its_end_when_nobody_waits_any_more
        test_pipelining.py::test_uploads_whose_data_has_arrived_are_committed_though_the_connection_is_lost
    """,
    "the server is killed, or the power fails, before the rename": """
        test_stream_safety.py::test_a_server_that_is_killed_has_the_old_file_and_goes_on_after_a_restart
        test_sockets.py::test_a_server_killed_in_the_middle_of_an_upload_has_the_old_file_and_a_free_name
        test_sweeping.py::test_old_parts_go_wherever_they_are_and_nothing_else_does
    """,
    "the same after `226`": """
        test_sync_order.py::test_the_file_then_its_name_then_the_folder_then_the_226
        test_sync_order.py::test_what_is_added_is_synced_before_the_226
        test_commits.py::test_a_file_is_synced_then_renamed_then_its_folder_is_synced
    """,
    "the sync of the directory fails after the rename": """
        test_commits.py::test_a_folder_that_can_not_be_synced_fails_its_files_and_no_others
    """,
}


@functools.cache
def functions(file: str) -> set[str]:
    """Those of a test's file, in whichever folder it is."""
    trees = [ast.parse(path.read_text()) for path in HERE.rglob(file)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(names: list[str]) -> list[str]:
    """Those that are no tests."""
    return [name for name in names if name.partition("::")[2] not in functions(name.partition("::")[0])]


def rows(text: str, head: str) -> list[str]:
    """The first column of the table under this head."""
    lines = text[text.index(f"\n{head}") + 1 :].splitlines()[2:]
    table = lines[: next(at for at, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    return [line.split("|")[1].strip() for line in table]


def test_every_fault_of_the_documentation_is_injected_somewhere() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert rows(text, "| fault | ") == list(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_tests_for_a_fault_are_there(fault: str) -> None:
    names = FAULTS[fault].split()
    assert names
    assert missing(names) == []


def test_the_tests_that_the_documentation_names_are_there() -> None:
    names = [
        name for path in DOCS.glob("*.md") for name in re.findall(r"\b(test_\w+\.py::test_\w+)\b", path.read_text())
    ]
    assert missing(names) == []


def named_places(text: str) -> list[str]:
    """What stands in code in the last column of each table that says where a measure is."""
    places = []
    for table in re.findall(r"^\| measure \| where \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        places += [name for row in table.splitlines() for name in re.findall(r"`([\w.]+)`", row.rsplit("|", 2)[1])]
    return places


def test_each_measure_is_where_the_documentation_says() -> None:
    places = named_places((DOCS / "security.md").read_text())
    assert len(places) > 40
    for place in places:
        pkgutil.resolve_name(f"ftpsvc.{place}")  # raises an error that names it
