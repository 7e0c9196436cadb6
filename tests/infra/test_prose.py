"""What docs/how-to/deploy-on-aks.md tells people to type exists, as far as that can be seen without Azure."""

from __future__ import annotations

import re
import shlex

from tests.infra.inventory import declared
from tests.infra.terraform import ENVIRONMENTS, ROOT, SOURCE, Outcome

PAGE = ROOT / "docs" / "how-to" / "deploy-on-aks.md"
READMES = [SOURCE / "README.md", SOURCE / "examples" / "minimal" / "README.md"]
_BLOCKS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """What the page runs of a program, as lists of words; also within `$(...)`."""
    text = "\n".join(_BLOCKS.findall(PAGE.read_text("utf-8"))).replace("\\\n", " ")
    found = re.findall(rf"(?:^|[($|;] ?|&& )({program}(?: [^\n()|;]+)?)", text, re.MULTILINE)
    return [shlex.split(one.split(" > ")[0].strip().rstrip('"')) for one in found]


def test_outputs_that_are_read_exist() -> None:
    outputs = set(declared(SOURCE, "output"))
    read = [words[-1] for words in commands("terraform") if "output" in words]
    assert len(read) > 8
    assert set(read) <= outputs


def test_variables_that_are_given_exist() -> None:
    variables = set(declared(SOURCE, "variable"))
    text = PAGE.read_text("utf-8")
    given = set(re.findall(r"TF_VAR_(\w+)", text)) | set(re.findall(r"-var='?(\w+)=", text))
    assert given >= {"operator_cidrs", "release", "separate_accounts"}
    assert given <= variables


def test_attributes_that_are_named_exist() -> None:
    """Such as `user_pool.min_count`: an attribute of a variable's type."""
    bodies = declared(SOURCE, "variable")
    for path in (PAGE, *READMES):
        spans = re.findall(r"`(\w+)\.(\w+)`", path.read_text("utf-8"))
        named = [(name, attribute) for name, attribute in spans if name in bodies]
        assert not [one for one in named if f" {one[1]} " not in bodies[one[0]]], path


def test_files_that_are_named_exist() -> None:
    text = PAGE.read_text("utf-8")
    files = re.findall(r"(?:-var-file=|`)(environments/\w+\.tfvars)", text)
    assert {file.split("/")[1].removesuffix(".tfvars") for file in files} == set(ENVIRONMENTS)
    for words in commands("helm"):
        for word in words:
            if "/" in word:
                assert (ROOT / word).exists(), word
    assert (ROOT / "k8s" / "addons" / "install.sh").exists()


def test_subcommands_of_terraform_exist(guide: Outcome) -> None:
    assert guide.runs
    assert {words[2] for words in commands("terraform") if len(words) > 2} <= {"init", "apply", "output", "destroy"}
    assert all(words[1] == "-chdir=terraform" for words in commands("terraform"))


def test_figures_that_are_claimed(guide: Outcome) -> None:
    sizing = guide.outputs["guide"]["sizing"]
    text = PAGE.read_text("utf-8")
    most = sizing["packed_nodes_max"]
    assert f"{4 * most} for the guide's {most}" in text
    assert f"{sizing['packed_nodes']} at the guide's peak" in text
    sessions = sizing["worker_max_replicas"] + 8 * sizing["api_max_replicas"] + 2 * 5
    assert f"With the guide's {sizing['worker_max_replicas']} workers that is {sessions}" in text
