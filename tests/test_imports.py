"""The order in which the parts of the package depend on one another, and what importing it loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule

ROOT = Path(chainrule.__file__).parent

#: the rooms and files of the package, the lowest first: each imports only what stands in a row above its own
ORDER = """
collector errors lines order
alignment config dtypes shapes
graph checkpoint_policies
ops
backends gradmode interop layers mixed_precision recording threads transforms tree
memory
compiler runtime
nonfinite tensor
conversion
autograd indexing operators
assignment control
capture functions
explanation fft linalg sparse special testing
data methods minimise random spellings
functional optim profiling
nn objectives
train
recipes
cli
""".strip().splitlines()
LEVELS = {part: level for level, row in enumerate(ORDER) for part in row.split()}
#: what may be imported although it stands higher: the base of every part, and the language that backends emit, which is
#: loops and the shapes of kernels of attention
SEAMS = {("backends", "base"), ("compiler", "attention"), ("compiler", "kernel")}
#: modules that load parts of the package late on purpose: the command and the recipes (to answer at once), and the
#: evaluation (to need llvmlite only when something is evaluated)
EDGE = ("cli", "recipes", "runtime")
#: optional packages at the edge, and llvmlite, may be imported inside functions
LATE = {"llvmlite", "matplotlib", "safetensors", "rich", "torch", "jax", "scipy"}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT).with_suffix("")
        parts = [p for p in relative.parts if p != "__init__"]
        yield path, tuple(parts), ast.parse(path.read_text())


def imports(tree, module, is_package):
    """(absolute name inside the package as a tuple, node, inside a function) of each of our imports."""
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.walk(node)
    }
    typing = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    package = module if is_package else module[:-1]
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1] + tuple((node.module or "").split("."))
                base = tuple(p for p in base if p)
            elif (node.module or "").split(".")[0] == "chainrule":
                base = tuple(node.module.split(".")[1:])
            else:
                yield None, (node.module or "").split(".")[0], node, id(node) in inside
                continue
            for alias in node.names:
                yield (*base, alias.name) if (ROOT.joinpath(*base)).is_dir() else base, None, node, id(node) in inside
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "chainrule":
                    yield tuple(parts[1:]), None, node, id(node) in inside
                else:
                    yield None, parts[0], node, id(node) in inside


def test_parts_import_only_what_is_below_them():
    wrong = []
    for path, module, tree in modules():
        if not module or module[0] == "__main__":
            continue
        for target, _, node, inside in imports(tree, module, path.name == "__init__.py"):
            if not target or inside or target[0] not in LEVELS or target[0] == module[0]:
                continue
            if target[:2] not in SEAMS and LEVELS[target[0]] >= LEVELS[module[0]]:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {'.'.join(target)}")
    assert not wrong, "\n".join(wrong)


def test_every_part_has_its_place_in_the_order():
    found = {module[0] for _, module, _ in modules() if module}
    assert found - {"__main__"} == LEVELS.keys()


def test_modules_do_not_import_each_other_in_circles():
    known = {module for _, module, _ in modules()}
    edges = {}
    for path, module, tree in modules():
        targets = set()
        for target, _, _, inside in imports(tree, module, path.name == "__init__.py"):
            while target and target not in known:
                target = target[:-1]
            if target and not inside and target != module and module[: len(target)] != target:
                targets.add(target)
        edges[module] = targets
    state, circles = {}, []

    def visit(module, trail):
        state[module] = "open"
        for target in sorted(edges.get(module, ())):
            if state.get(target) == "open":
                circles.append(" -> ".join(".".join(m) for m in [*trail, module, target]))
            elif target not in state:
                visit(target, [*trail, module])
        state[module] = "done"

    for module in sorted(edges):
        if module and module not in state:
            visit(module, [])
    assert not circles, "\n".join(circles)


def test_no_import_hides_in_a_function():
    wrong = []
    for path, module, tree in modules():
        for target, package, node, inside in imports(tree, module, path.name == "__init__.py"):
            ours = target is not None and module and module[0] not in EDGE
            if inside and (ours or (target is None and package not in LATE | set(sys.stdlib_module_names) | {"numpy"})):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {package or '.'.join(target)}")
    assert not wrong, "\n".join(wrong)


def loaded_after(code):
    script = f"{code}\nimport sys\nprint(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_numpy_alone():
    loaded = loaded_after("import chainrule")
    assert not loaded & {"llvmlite", "matplotlib", "scipy", "rich", "safetensors", "torch", "jax", "PIL"}
    assert "numpy" in loaded


def test_import_leaves_to_their_first_use_what_few_programs_need():
    script = "import numpy, sys; before = {*sys.modules}; import chainrule; print(*({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "chainrule.functions.products" in loaded
    late = """linalg ops.rare ops.scan ops.loop_rules ops.custom control.looping functions.uniques functions.einsum
        memory layers compiler""".split()
    assert not loaded & {"dataclasses", "inspect", *(f"chainrule.{name}" for name in late)}


def test_public_names():
    for name in (
        "tensor asarray zeros ones full arange linspace eye zeros_like grad value_and_grad vjp jvp vmap no_grad "
        "manual_seed random nn optim functional linalg einsum Tensor float32 int64 bool newaxis pi"
    ).split():
        assert hasattr(chainrule, name), name
    assert callable(chainrule.tensor) and "grad" in dir(chainrule)
    assert chainrule.e > 2.7 and chainrule.newaxis is None


@pytest.mark.parametrize(
    "expression",
    [
        "cr.grad(lambda x: cr.cond(x > 0, lambda x: x * x, lambda x: x, x))(cr.tensor(2.0))",
        "cr.grad(lambda x: cr.scan(lambda c, y: (c * y, None), x, cr.full(2, 2.0))[0])(cr.tensor(2.0))",
        "cr.grad(lambda x: cr.while_loop(lambda c: c < 5.0, lambda c: c * 2, x, max_steps=4))(cr.tensor(2.0))",
        "cr.linalg.det(cr.full((1, 1), 4.0))",
    ],
)
def test_primitives_register_on_first_use(expression):
    code = f"import chainrule as cr; assert float({expression}) == 4.0"
    if "linalg" not in expression:  # those of control flow come alone
        code += "\nimport sys; assert 'chainrule.ops.rare' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
