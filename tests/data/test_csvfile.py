"""Reading CSV files, and the message of each defect."""

import pytest

from chainrule.data import read_csv
from chainrule.errors import DataError


def write(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_plain_table(tmp_path):
    table = read_csv(write(tmp_path, "a,b\n1,x\n2,y\n"))
    assert table.names == ["a", "b"]
    assert table.columns["a"].numbers.tolist() == [1, 2]
    assert table.columns["b"].texts == ["x", "y"]
    assert list(table.columns["b"].lines) == [2, 3]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path, delimiter):
    text = "\n".join(delimiter.join(row) for row in (["a", "b", "c"], ["1", "2", "x y"], ["3", "4", "z"]))
    assert read_csv(write(tmp_path, text)).names == ["a", "b", "c"]


def test_decimal_commas_do_not_win_over_semicolons(tmp_path):
    table = read_csv(write(tmp_path, "a;b\n1,5;2,5\n3,5;4,5\n"))
    assert table.names == ["a", "b"]


def test_quotes_blanks_windows_lines_and_byte_order_mark(tmp_path):
    text = b'\xef\xbb\xbfname, age\r\n"Kelly, Mr. James", 34\r\n\r\n"two\r\nlines", 5\r\n'
    table = read_csv(write(tmp_path, text))
    assert table.names == ["name", "age"]
    assert table.columns["name"].texts == ["Kelly, Mr. James", "two\r\nlines"]
    assert list(table.columns["age"].lines) == [2, 4]


def test_header_is_found_out(tmp_path):
    assert read_csv(write(tmp_path, "5.1,3.5,setosa\n4.9,3.0,setosa\n")).names == ["column1", "column2", "column3"]
    assert read_csv(write(tmp_path, "year,2001\nx,1\n"), target="2001").names == ["year", "2001"]
    assert read_csv(write(tmp_path, "a,b\nc,d\n"), header=False).num_rows == 2
    assert read_csv(write(tmp_path, ",price\n0,5\n1,6\n")).names == ["column1", "price"]


def test_columns_of_a_file_without_header_by_number(tmp_path):
    table = read_csv(write(tmp_path, "5.1,3.5,setosa\n4.9,3.0,setosa\n"))
    assert table.column("3").name == table.column("-1").name == table.column("column3").name == "column3"
    with pytest.raises(DataError, match="its columns are numbered"):
        table.column("species")


def test_latin_1_is_noted(tmp_path):
    table = read_csv(write(tmp_path, "ort,zahl\nMünchen,1\n".encode("latin-1")))
    assert table.columns["ort"].texts == ["München"]
    assert "Latin-1" in table.notes[0]


def test_missing_marks(tmp_path):
    marks = ["", "NA", "?", "nan", "null", "NaN", "None", "n/a"]
    table = read_csv(write(tmp_path, "a,b\n" + "".join(f"{mark},1\n" for mark in marks) + "0,1\n"))
    assert table.columns["a"].missing.tolist() == [True] * len(marks) + [False]


def test_line_of_delimiters_is_a_row_of_missing_values(tmp_path):
    table = read_csv(write(tmp_path, "a,b\n,\n1,2\n"))
    assert table.columns["a"].missing.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n1,2,3\n", r"line 3: too many fields, 3 where the header has 2"),
        ("a,b\n1,2\n\n1\n", r"line 4: too few fields, 1 where the header has 2"),
        ("1,2\n1,2,3\n", r"line 2: too many fields, 3 where the first line has 2"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ('a,b\n1,"2\n3,4\n', r"line 2: .*quotation mark"),
        (b"\x89PNG\x00\x00", "not a text file"),
    ],
)
def test_defects(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, text))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_csv(tmp_path)


def test_line_numbers_after_a_field_of_two_lines(tmp_path):
    with pytest.raises(DataError, match="line 4: too many"):
        read_csv(write(tmp_path, 'a,b\n"x\ny",1\n1,2,3\n'))


@pytest.mark.parametrize("infinity", ["inf", "-inf", "Infinity", "1e999"])
def test_infinities_name_column_and_line(tmp_path, infinity):
    table = read_csv(write(tmp_path, f"a,b\n1,2\n{infinity},3\n"))
    with pytest.raises(DataError, match=r"column 'a' holds the infinite value .* in line 3"):
        _ = table.columns["a"].numbers


def test_nearest_column_names(tmp_path):
    table = read_csv(write(tmp_path, "price,rooms,age\n1,2,3\n"))
    with pytest.raises(DataError, match="did you mean 'price'"):
        table.column("prise")
    with pytest.raises(DataError, match="did you mean 'rooms'"):
        table.column("ROOMS")
    with pytest.raises(DataError, match="the columns are price, rooms, age"):
        table.column("zzzz")
