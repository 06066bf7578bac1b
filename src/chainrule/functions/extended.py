"""Which file holds which of the functions that are loaded when they are first used: most are beyond the standard."""

from __future__ import annotations

_FILES = {
    "functions.uniques": "intersect1d setdiff1d setxor1d union1d unique unique_all unique_consecutive unique_counts "
    "unique_inverse unique_values",
    "functions.ordering": "argpartition bucketize digitize kthvalue lexsort mode msort nanargmax nanargmin partition",
    "functions.cumulative": "cummax cummin logcumsumexp nancumprod nancumsum",
    "functions.statistics": "corrcoef cov median nanmedian nanpercentile nanquantile percentile ptp quantile",
    "functions.histograms": "bincount histogram histogram2d histogram_bin_edges histogramdd",
    "functions.signal": "convolve correlate cumulative_trapezoid ediff1d gradient interp trapezoid unwrap",
    "functions.scatters": "compress extract index_add index_copy index_fill index_select masked_fill masked_select "
    "put_along_axis scatter scatter_reduce segment_max segment_min segment_prod segment_sum",
    "functions.nans": "nan_to_num nanmax nanmean nanmin nanprod nanstd nansum nanvar",
    "functions.arranging": "append array_split atleast_1d atleast_2d atleast_3d block cartesian_prod "
    "column_stack combinations delete dsplit dstack fliplr flipud hsplit hstack insert movedim rollaxis rot90 "
    "row_stack tensor_split trim_zeros vsplit vstack",
    "functions.diagonals": "argwhere choose diag diag_embed diag_indices diagflat fill_diagonal flatnonzero identity "
    "indices ix_ piecewise ravel_multi_index select tri tril_indices triu_indices unravel_index vander",
    "functions.numeric": "addcdiv addcmul allclose aminmax array_equal array_equiv cbrt clamp_max clamp_min deg2rad "
    "degrees divmod fix float_power fmax fmin fmod frac frexp gcd geomspace heaviside isclose iscomplex isneginf "
    "isposinf isreal lcm ldexp lerp logaddexp2 logspace modf rad2deg radians rint sgn std_mean true_divide var_mean",
    "functions.distances": "cdist pdist",
    "functions.along_axis": "apply_along_axis",
    "linalg.polynomials": "polyfit polyval",
    "functions.einsum": "einsum einsum_path",
}

#: name to (file, name in it)
EXTENDED = {name: (file, name) for file, names in _FILES.items() for name in names.split()}
