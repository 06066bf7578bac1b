"""Sparse matrices: construction, products and their derivatives, graph convolution; refusals."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DTypeError, IndexOutOfRangeError, ShapeError
from chainrule.sparse import CSR, normalized_adjacency


def dense(rows, columns, seed=0, share=0.3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < share)).astype(dtype)


def vector(shape, seed=1, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("features", [1, 5, 16, 33, 64, 81])
def test_products_and_gradients(features, dtype, tolerance):
    """Empty rows and columns, whole vectors and odd ends; compiled and generic code give the same bits."""
    d = dense(23, 19, features, dtype=dtype)
    d[4] = 0
    d[:, 7] = 0
    matrix, x, w = CSR.from_dense(d), vector((19, features), dtype=dtype), vector((23, features), 2, dtype)
    rows, columns = np.nonzero(d)

    def both(values, x):
        return cr.value_and_grad(lambda v, x: ((matrix.with_values(v) @ x) * cr.asarray(w)).sum(), (0, 1))(values, x)

    value, (to_values, to_x) = both(matrix.values, cr.asarray(x))
    np.testing.assert_allclose((matrix @ cr.asarray(x)).numpy(), d @ x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(to_x.numpy(), d.T @ w, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(to_values.numpy(), (w @ x.T)[rows, columns], rtol=tolerance, atol=tolerance)
    compiled_value, compiled = cr.compile(both)(matrix.values, cr.asarray(x))
    assert compiled_value.item() == value.item()
    for a, b in zip(compiled, (to_values, to_x)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_sums_do_not_depend_on_threads():
    d = dense(700, 300, 3, 0.1, np.float32)
    matrix, x = CSR.from_dense(d), cr.asarray(vector((300, 40), dtype=np.float32))
    before = cr.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            cr.set_num_threads(threads)
            results.append(cr.compile(lambda x: matrix @ x)(x).numpy())
    finally:
        cr.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_transposed_vectors_and_dense_form():
    d = dense(6, 4, 1)
    matrix = CSR.from_dense(d)
    np.testing.assert_array_equal(matrix.to_dense().numpy(), d)
    np.testing.assert_array_equal(matrix.T.to_dense().numpy(), d.T)
    np.testing.assert_array_equal(matrix.T.T.to_dense().numpy(), d)
    np.testing.assert_allclose((matrix @ cr.asarray(vector(4))).numpy(), d @ vector(4), rtol=1e-12)
    assert matrix.shape == (6, 4) and matrix.nnz == np.count_nonzero(d) and "nnz=" in repr(matrix)
    assert (CSR.from_dense(np.zeros((3, 2))) @ cr.ones((2, 5), dtype="float64")).numpy().tolist() == [[0.0] * 5] * 3


def test_coordinates_in_any_order_add_up():
    matrix = CSR.from_coo([2, 0, 2, 1], [1, 0, 1, 1], np.array([1.0, 2.0, 3.0, 4.0]), (3, 2))
    assert matrix.to_dense().tolist() == [[2.0, 0.0], [0.0, 4.0], [0.0, 4.0]]
    assert CSR.from_coo([], [], None, (2, 2)).to_dense().tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_vmap_of_columns_values_and_matrices():
    d = dense(5, 4, 2)
    matrix = CSR.from_dense(d)
    x = vector((3, 4, 2))
    np.testing.assert_allclose(cr.vmap(lambda x: matrix @ x)(cr.asarray(x)).numpy(), d @ x, rtol=1e-12)
    values = vector((3, matrix.nnz))
    for axes, xs in (((0, None), x[0]), ((0, 0), x)):
        result = cr.vmap(lambda v, x: matrix.with_values(v) @ x, axes)(cr.asarray(values), cr.asarray(xs)).numpy()
        for b in range(3):
            full = np.zeros_like(d)
            full[np.nonzero(d)] = values[b]
            np.testing.assert_allclose(result[b], full @ (xs if axes[1] is None else xs[b]), rtol=1e-12, atol=1e-14)


def test_a_matrix_is_a_tree_and_an_argument():
    d, e = dense(5, 4, 2), dense(5, 4, 2) * 3
    product = cr.compile(lambda a, x: a @ x)
    x = vector((4, 3))
    for a in (d, e):
        np.testing.assert_allclose(product(CSR.from_dense(a), cr.asarray(x)).numpy(), a @ x, rtol=1e-12)
    assert len(product.programs) == 1


def test_a_wrong_structure_reads_nothing_beyond_its_operands():
    """Structures are checked when built; the kernel bounds what it is given all the same."""
    matrix = CSR.from_dense(dense(5, 4, 2))
    broken = matrix.with_values(matrix.values)
    broken.indices = cr.asarray(np.full(matrix.nnz, 1 << 20, np.int32))
    with pytest.raises(IndexOutOfRangeError, match="index 1048576 is out of range"):
        cr.compile(lambda x: broken @ x)(cr.asarray(vector((4, 3))))
    broken = matrix.with_values(matrix.values)
    broken.indptr = cr.asarray(np.array([0, 1 << 20, -5, 1 << 20, 0, 1 << 30], np.int32))
    assert cr.compile(lambda x: broken @ x)(cr.asarray(vector((4, 3)))).shape == (5, 3)


# -- graph convolution ----------------------------------------------------------------------------------------------


def test_normalized_adjacency():
    edges = [[0, 1, 1, 3], [1, 2, 2, 3]]
    a = np.eye(4)
    for i, j in zip(*edges):
        a[i, j] = a[j, i] = 1
    scale = 1 / np.sqrt(a.sum(1))
    matrix = normalized_adjacency(edges, 4, dtype="float64")
    np.testing.assert_allclose(matrix.to_dense().numpy(), scale[:, None] * a * scale, rtol=1e-14)
    directed = normalized_adjacency([[0], [1]], 2, symmetric=False).to_dense().numpy()
    assert directed[0, 1] == 0 and directed[1, 0] > 0


@pytest.mark.parametrize("sizes", [(5, 2), (2, 5)])
@pytest.mark.parametrize("sparse", [False, True])
def test_graph_convolution(sparse, sizes):
    torch = pytest.importorskip("torch")
    layer = nn.GraphConv(*sizes).double()
    adjacency = normalized_adjacency([[0, 1, 4], [1, 2, 0]], 6, dtype="float64")
    x = dense(6, sizes[0], 3, 0.6)
    given = CSR.from_dense(x) if sparse else cr.asarray(x).requires_grad_()
    w = vector((6, sizes[1]))
    (layer(given, adjacency) * cr.asarray(w)).sum().backward()
    a = torch.tensor(adjacency.to_dense().numpy())
    t = [torch.tensor(v, requires_grad=True) for v in (x, layer.weight.detach().numpy(), layer.bias.detach().numpy())]
    y = a @ t[0] @ t[1] + t[2]
    (y * torch.tensor(w)).sum().backward()
    np.testing.assert_allclose(layer(given, adjacency).detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad.numpy(), t[1].grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad.numpy(), t[2].grad.numpy(), rtol=1e-10, atol=1e-12)
    if not sparse:
        np.testing.assert_allclose(given.grad.numpy(), t[0].grad.numpy(), rtol=1e-10, atol=1e-12)
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("heads", [1, 3])
def test_graph_attention(heads, concat):
    """Against a masked softmax over all pairs of nodes."""
    torch = pytest.importorskip("torch")
    layer = nn.GraphAttention(5, 4, heads, concat).double()
    adjacency = normalized_adjacency([[0, 1, 4], [1, 2, 0]], 6, dtype="float64")
    x, w = vector((6, 5)), vector((6, 4 * heads if concat else 4), 2)
    given = cr.asarray(x).requires_grad_()
    y = layer(given, adjacency)
    (y * cr.asarray(w)).sum().backward()
    mask = torch.tensor(adjacency.to_dense().numpy() > 0)
    t = torch.tensor(x, requires_grad=True)
    theirs = {key: torch.tensor(value.numpy(), requires_grad=True) for key, value in layer.state_dict().items()}
    h = (t @ theirs["weight"]).reshape(6, heads, 4)
    s, d = (h * theirs["att_src"]).sum(-1), (h * theirs["att_dst"]).sum(-1)
    scores = torch.nn.functional.leaky_relu(d[:, None] + s[None], 0.2)
    share = torch.softmax(torch.where(mask[..., None], scores, -torch.inf), 1)
    z = torch.einsum("ijh,jho->iho", share, h)
    z = (z.reshape(6, -1) if concat else z.mean(1)) + theirs["bias"]
    (z * torch.tensor(w)).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(given.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-12)
    for key, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), theirs[key].grad.numpy(), rtol=1e-10, atol=1e-12)
    compiled = cr.compile(lambda x: layer(x, adjacency))
    np.testing.assert_array_equal(compiled(cr.asarray(x)).numpy(), layer(cr.asarray(x), adjacency).detach().numpy())
    layer.dropout = 0.5
    dropped = layer(cr.asarray(x), adjacency).detach().numpy()
    assert abs(dropped - y.detach().numpy()).max() > 1e-3
    np.testing.assert_array_equal(layer.eval()(cr.asarray(x), adjacency).detach().numpy(), y.detach().numpy())


def test_two_layers_learn_two_communities_from_two_labels():
    """The recipe of the paper in small: dropout on the sparse features, full batch, compiled."""
    rng = np.random.default_rng(0)
    side = np.repeat([0, 1], 20)
    i, j = np.triu_indices(40, 1)
    linked = rng.random(len(i)) < np.where(side[i] == side[j], 0.3, 0.02)
    adjacency = normalized_adjacency([i[linked], j[linked]], 40)
    features = CSR.from_dense(np.eye(40, dtype=np.float32))
    cr.manual_seed(0)
    first, second = nn.GraphConv(40, 8), nn.GraphConv(8, 2)
    optimizer = cr.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
    known = cr.asarray([0, 39])

    def logits(features):
        return second(cr.functional.relu(first(features, adjacency)), adjacency)

    @cr.compile
    def step():
        optimizer.zero_grad()
        dropped = features.with_values(cr.functional.dropout(features.values, 0.5))
        loss = cr.functional.cross_entropy(cr.take(logits(dropped), known, axis=0), cr.asarray([0, 1]))
        loss.backward()
        optimizer.step()
        return loss

    losses = step.repeat(60).numpy()
    assert losses[-10:].mean() < 0.2 < losses[0]
    assert (logits(features).numpy().argmax(1) == side).mean() > 0.9


# -- refusals -------------------------------------------------------------------------------------------------------

REFUSED = {
    "columns": (lambda: CSR([0, 1], [3], None, (1, 2)), IndexOutOfRangeError,
                "CSR: column 3 is out of range for a matrix of 2 columns"),
    "ends": (lambda: CSR([0, 2, 1], [0], None, (2, 2)), ShapeError,
             "CSR: indptr has to ascend from 0 to 1, the number of indices, in 3 elements"),
    "values": (lambda: CSR([0, 1], [0], [1.0, 2.0], (1, 1)), ShapeError,
               "CSR: values have shape (2,), there are 1 nonzeros"),
    "kind": (lambda: CSR([0, 1], [0], [1], (1, 1)), DTypeError, "CSR: values are int64, they have to be floating"),
    "rows": (lambda: CSR.from_coo([5], [0], None, (2, 2)), IndexOutOfRangeError,
             "CSR: row 5 is out of range for a matrix of 2 rows"),
    "product": (lambda: CSR([0, 1], [0], [1.0], (1, 2)) @ cr.ones((3, 2)), ShapeError,
                "csr_matmul: the matrix has 2 columns, x has shape (3, 2); operands float32[1], float32[3, 2]"),
    "dtypes": (lambda: CSR([0, 1], [0], [1.0], (1, 2)) @ cr.ones((2, 2), dtype="float64"), DTypeError,
               "csr_matmul: the matrix is float32, x is float64; operands float32[1], float64[2, 2]"),
    "edges": (lambda: normalized_adjacency([[0], [4]], 2), IndexOutOfRangeError,
              "normalized_adjacency: node 4 is out of range for a graph of 2 nodes"),
    "nodes": (lambda: nn.GraphConv(3, 2)(cr.ones((4, 3)), normalized_adjacency([[0], [1]], 2)), ShapeError,
              "GraphConv: input has 4 nodes, adjacency 2 columns; operands float32[4, 3]"),
    "attention": (lambda: nn.GraphAttention(3, 2)(cr.ones((4, 3)), normalized_adjacency([[0], [1]], 2)), ShapeError,
                  "GraphAttention: input has shape (4, 3), adjacency (2, 2); the layer takes 3 features; "
                  "operands float32[4, 3]"),
    "features": (lambda: nn.GraphConv(3, 2)(cr.ones((2, 4)), normalized_adjacency([[0], [1]], 2)), ShapeError,
                 "GraphConv: input has shape (2, 4), the layer takes 3 features; operands float32[2, 4]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    function, kind, problem = REFUSED[case]
    with pytest.raises(kind) as caught:
        function()
    lines = str(caught.value).splitlines()
    assert lines[0] == problem
    assert "test_sparse.py:" in lines[1]


def test_products_from_the_left():
    d, x = dense(7, 5), vector((3, 7))
    matrix = CSR.from_dense(d)
    np.testing.assert_allclose((cr.asarray(x) @ matrix).numpy(), x @ d, rtol=1e-12)
    np.testing.assert_allclose((x @ matrix).numpy(), x @ d, rtol=1e-12)
    np.testing.assert_allclose((cr.asarray(x[0]) @ matrix).numpy(), x[0] @ d, rtol=1e-12)
    gradient = cr.grad(lambda x: ((x @ matrix) ** 2).sum())(cr.asarray(x))
    np.testing.assert_allclose(gradient.numpy(), 2 * (x @ d) @ d.T, rtol=1e-11)
    with pytest.raises(ShapeError, match=r"x has shape \(3, 5\), the matrix has 7 rows"):
        cr.ones((3, 5), dtype="float64") @ matrix


def test_products_of_what_is_no_dense_matrix():
    matrix = CSR.from_dense(dense(4, 4))
    with pytest.raises(DTypeError, match=r"csr_matmul: x is sparse as well\n.*\nhelp: write x\.to_dense\(\)"):
        matrix @ matrix
    with pytest.raises(DTypeError, match=r"csr_matmul: x is None\nrecorded at \S+$"):
        matrix @ None
