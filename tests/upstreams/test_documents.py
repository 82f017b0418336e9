import json
import os
import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xds_server.upstreams.documents import (
    MAX_FILE_BYTES,
    DefinitionFile,
    FileProblem,
    check_together,
    find_files,
    load,
    parse,
    read_file,
)

CONTRACT = Path(__file__).parent / "data" / "contract.yaml"


def good(text: str, path: str = "f.yaml") -> DefinitionFile:
    result = parse(text.encode(), path)
    assert isinstance(result, DefinitionFile), result
    return result


def only(result: DefinitionFile | list[FileProblem]) -> FileProblem:
    assert isinstance(result, list)
    (problem,) = result
    return problem


def test_the_example_of_the_contract() -> None:
    files, problems = load([CONTRACT])
    assert problems == []
    ((path, upstreams, gateways),) = files
    assert path == str(CONTRACT)
    assert [(each.line, each.value.name) for each in upstreams] == [(2, "payments"), (34, "postgres")]
    assert [(each.line, each.value.name) for each in gateways] == [(37, "public"), (38, "database")]
    payments = upstreams[0].value
    assert [target.key for target in payments.targets] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert payments.targets[1].locality.zone == "eu-1a"
    assert payments.retries is not None
    assert payments.retries.on == ("connect-failure", "refused-stream")
    assert payments.timeout == timedelta(seconds=15)
    assert payments.envoy == {"per_connection_buffer_limit_bytes": 65536}


def test_yaml_and_json_say_the_same() -> None:
    in_yaml = good("upstreams:\n- name: a\n- name: b\n")
    in_json = good('{"upstreams": [\n{"name": "a"},\n{"name": "b"}]}', "f.json")
    assert in_yaml.upstreams[1].line == in_json.upstreams[1].line == 3
    assert [each.value for each in in_yaml.upstreams] == [each.value for each in in_json.upstreams]


@pytest.mark.parametrize(
    ("data", "path", "problem"),
    [
        (b"upstreams: []\n# \xff", "f.yaml", "f.yaml:2: not UTF-8: byte 0xff cannot stand here"),
        ("upstreams: []".encode("utf-16"), "f.json", "f.json:1: not UTF-8: byte 0xff cannot stand here"),
        (b"upstreams: []", "f.toml", "f.toml: not a definition file: its name must end in .yaml, .yml, .json"),
        (
            b" " * (50 << 20),
            "f.yaml",
            "f.yaml: too large: 50.0 MiB, at most 16 MiB are read; split it into several files",
        ),
    ],
)
def test_what_cannot_be_parsed(data: bytes, path: str, problem: str) -> None:
    assert str(only(parse(data, path))) == problem


def test_a_byte_order_mark_and_capital_suffixes_are_taken() -> None:
    assert good("\ufeffupstreams: [{name: a}]", "F.YAML").upstreams[0].line == 1


@given(st.binary() | st.text().map(str.encode), st.sampled_from(["f.yaml", "f.json"]))
@example(b"upstreams: [{name: a, targets: [{host: a\xc2\x85}]}]", "f.yaml")
def test_no_bytes_make_parse_raise(data: bytes, path: str) -> None:
    result = parse(data, path)
    assert isinstance(result, DefinitionFile) or result


structures = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5s", "a", "http", "tcp"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "targets",
                    "host",
                    "port",
                    "tls",
                    "active",
                    "health_checks",
                    "hash_on",
                    "envoy",
                    "labels",
                    "nodes",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["upstreams", "gateways", "x"]), st.lists(structures, max_size=3)))
def test_no_structure_makes_parse_raise(document: dict[str, object]) -> None:
    result = parse(json.dumps(document).encode(), "f.json")
    assert isinstance(result, DefinitionFile) or all(problem.line >= 1 for problem in result)


def test_results_can_be_sent_to_another_process() -> None:
    file = read_file(CONTRACT)
    assert pickle.loads(pickle.dumps(file)) == file
    problems = parse(b"upstreams: [5]", "f.yaml")
    assert pickle.loads(pickle.dumps(problems)) == problems


def test_how_a_problem_is_printed() -> None:
    assert str(FileProblem("f.yaml", 3, "upstreams[0].name", "wrong")) == "f.yaml:3: upstreams[0].name: wrong"
    assert str(FileProblem("f.yaml", 3, "", "wrong")) == "f.yaml:3: wrong"
    assert str(FileProblem("f.yaml", 0, "", "wrong")) == "f.yaml: wrong"


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(50 << 20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: it is a directory"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: os.mkfifo(path), "cannot be read: it is not a regular file"),
        (huge, "too large: 50.0 MiB, at most 16 MiB are read; split it into several files"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "f.yaml"
    make(path)
    assert str(only(read_file(path))) == f"{path}: {message}"


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    text = b"upstreams: []\n"
    path.write_bytes(text + b"#" * (MAX_FILE_BYTES - len(text)))
    assert isinstance(read_file(path), DefinitionFile)


def test_a_path_that_no_file_can_have() -> None:
    assert only(read_file("a\0.yaml")).message.startswith("cannot be read: ")
    assert load(["a\0"])[1][0].message.startswith("cannot be read: ")


def test_the_files_of_a_tree(tmp_path: Path) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        "deep/er/c.json",
        ".hidden.yaml",
        ".git/x.yaml",
        "backup~/x.yaml",
        "a.yaml~",
        "notes.txt",
        "elsewhere.d/x.yaml",
    ):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    root = tmp_path / "root"
    (root / "elsewhere.d").rename(tmp_path / "elsewhere")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "deep" / "loop").symlink_to(root)
    (root / "dangling.yaml").symlink_to(root / "nowhere")
    found = [str(path.relative_to(root)) for path in find_files(root)]
    assert found == ["a.yml", "b.yaml", "dangling.yaml", "deep/er/c.json", "linked/x.yaml"]
    assert find_files(str(root / "notes.txt")) == [root / "notes.txt"]


def test_the_directory_of_a_kubernetes_config_map(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "a.yaml").write_text("upstreams: []")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert find_files(tmp_path) == [tmp_path / "a.yaml"]
    assert load([tmp_path])[1] == []


def test_a_tree_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_files(tmp_path / "nowhere")


def test_two_files_that_define_one_upstream() -> None:
    one, two = good("upstreams:\n- name: a\n", "one.yaml"), good("upstreams:\n- name: b\n- name: a\n", "two.yaml")
    ((problem, paths),) = check_together([one, two])
    assert str(problem) == "two.yaml:3: upstreams[1].name: upstream 'a' is already defined at one.yaml:2"
    assert paths == {"one.yaml", "two.yaml"}


def test_a_gateway_may_name_an_upstream_of_another_file() -> None:
    gateways = good("gateways: [{name: g, port: 1, upstream: a}]", "g.yaml")
    assert check_together([gateways, good("upstreams: [{name: a}]")]) == []
    ((problem, paths),) = check_together([gateways])
    assert str(problem) == "g.yaml:1: gateways[0].upstream: there is no upstream 'a'"
    assert paths == {"g.yaml"}


def test_load_tells_everything_that_is_wrong_with_all_paths(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.yaml").write_text("upstreams: [{name: a}]\ngateways: [{name: g, port: 1, upstream: b}]\n")
    (tree / "b.yaml").write_text("upstreams:\n- {name: b, timeout: 5}\n- {name: c, timeout: 5}\n")
    (tree / "c.yaml").write_text("upstreams: [{name: a}]\n")
    files, problems = load([tmp_path / "nowhere", tmp_path / "empty", tree, tree / "a.yaml", str(tree)])
    assert [Path(file.path).name for file in files] == ["a.yaml", "c.yaml"]
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in problems] == [
        "empty: holds no definition file (*.yaml, *.yml or *.json)",
        "nowhere: cannot be read: No such file or directory",
        "tree/b.yaml:2: upstreams[0].timeout: a duration needs its unit: write 5s or 5ms",
        "tree/b.yaml:3: upstreams[1].timeout: a duration needs its unit: write 5s or 5ms",
        "tree/c.yaml:1: upstreams[0].name: upstream 'a' is already defined at tree/a.yaml:1",
    ]
    (tree / "b.yaml").write_text("upstreams: []")
    assert "there is no upstream 'b'" in [problem.message for problem in load([tree])[1]]


def test_a_thousand_upstreams_of_ten_targets(record_property: Callable[[str, object], None]) -> None:
    text = "upstreams:\n" + "".join(
        f"  - name: u{n}\n    algorithm: weighted-round-robin\n    targets:\n"
        + "".join(f"      - {{host: 10.{n >> 8}.{n & 255}.{t}, port: 8080, weight: {t + 1}}}\n" for t in range(10))
        for n in range(1000)
    )
    data = text.encode()
    began = time.perf_counter()
    result = parse(data, "f.yaml")
    took = time.perf_counter() - began
    assert isinstance(result, DefinitionFile)
    assert (len(result.upstreams), result.upstreams[-1].line) == (1000, 2 + 999 * 13)
    record_property("measured", f"1,000 upstreams x 10 targets parsed from YAML in {took:.2f} s")
