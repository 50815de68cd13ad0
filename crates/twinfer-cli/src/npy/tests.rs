use super::*;
use twinfer::ErrorCode;

/// A file as NumPy writes it.
fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(text.len() as u16).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(data);
    file
}

#[test]
fn every_type_goes_out_and_comes_back() {
    for &dtype in DType::ALL {
        let Some(bits) = dtype.bits().filter(|bits| *bits >= 8) else {
            continue;
        };
        for shape in [vec![], vec![2], vec![2, 3], vec![2, 0, 3]] {
            let count: usize = shape.iter().product();
            let bytes = (0..count * bits / 8).map(|i| (i % 2) as u8).collect();
            let tensor = Tensor::from_bytes(dtype, &shape, bytes).unwrap();
            let written = write(&tensor).unwrap();
            assert_eq!(
                read(&written, Some(dtype)).unwrap(),
                tensor,
                "{dtype} {shape:?}"
            );
        }
    }
    let tensor = Tensor::from_bytes(DType::I4, &[2], vec![0]).unwrap();
    assert_eq!(
        write(&tensor).unwrap_err().code(),
        ErrorCode::UnsupportedDtype
    );
}

#[test]
fn what_numpy_writes_is_written_byte_for_byte() {
    let tensor = Tensor::from_vec(&[2, 2], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    let data: Vec<u8> = [1f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    assert_eq!(
        write(&tensor).unwrap(),
        file("'<f4'", "False", "(2, 2)", &data)
    );
    let one = Tensor::from_vec(&[1], vec![7u8]).unwrap();
    assert_eq!(write(&one).unwrap(), file("'|u1'", "False", "(1,)", &[7]));
    let scalar = Tensor::from_vec(&[], vec![true]).unwrap();
    assert_eq!(write(&scalar).unwrap(), file("'|b1'", "False", "()", &[1]));
}

#[test]
fn strings_of_any_script_go_out_and_come_back() {
    let strings = ["", "a", "grün", "日本", "🎈"].map(String::from).to_vec();
    let tensor = Tensor::from_strings(&[5], strings).unwrap();
    assert_eq!(read(&write(&tensor).unwrap(), None).unwrap(), tensor);
    let none = Tensor::from_strings(&[0], vec![]).unwrap();
    assert_eq!(read(&write(&none).unwrap(), None).unwrap(), none);
    let bytes = read(&file("'|S3'", "False", "(2,)", b"ab\0xyz"), None).unwrap();
    assert_eq!(bytes.strings().unwrap(), ["ab", "xyz"]);
    let big = read(
        &file("'>U2'", "False", "(1,)", &[0, 0, 0, b'h', 0, 0, 0, b'i']),
        None,
    )
    .unwrap();
    assert_eq!(big.strings().unwrap(), ["hi"]);
}

#[test]
fn other_byte_and_element_orders_are_turned() {
    let big: Vec<u8> = [1i32, -2].iter().flat_map(|v| v.to_be_bytes()).collect();
    let tensor = read(&file("'>i4'", "False", "(2,)", &big), None).unwrap();
    assert_eq!(tensor.to_vec::<i32>().unwrap(), [1, -2]);
    let complex: Vec<u8> = [1.5f32, -2.5]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let tensor = read(&file("'>c8'", "False", "()", &complex), None).unwrap();
    assert_eq!(
        tensor.as_bytes().unwrap(),
        [1.5f32, -2.5].map(f32::to_le_bytes).concat()
    );
    // numpy.asfortranarray([[[0,1],[2,3],[4,5]]]) of shape (1, 3, 2): the first axis is the fastest.
    let tensor = read(
        &file("'|u1'", "True", "(1, 3, 2)", &[0, 2, 4, 1, 3, 5]),
        None,
    )
    .unwrap();
    assert_eq!(tensor.to_vec::<u8>().unwrap(), [0, 1, 2, 3, 4, 5]);
    let wide: Vec<u8> = [0u16, 3, 1, 4, 2, 5]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let tensor = read(&file("'>u2'", "True", "(2, 3)", &wide), None).unwrap();
    assert_eq!(tensor.to_vec::<u16>().unwrap(), [0, 1, 2, 3, 4, 5]);
    let none = read(&file("'|u1'", "True", "(0, 3)", &[]), None).unwrap();
    assert_eq!(none.shape(), [0, 3]);
}

#[test]
fn headers_of_all_versions_and_python_2_are_read() {
    let text = "{'descr': \"<f4\", 'fortran_order': False, 'shape': (2L,), }\n";
    for (version, length) in [
        (1u8, &[text.len() as u8, 0][..]),
        (2, &[text.len() as u8, 0, 0, 0]),
        (3, &[text.len() as u8, 0, 0, 0]),
    ] {
        let file = [
            b"\x93NUMPY",
            &[version, 0][..],
            length,
            text.as_bytes(),
            &[0; 8],
        ]
        .concat();
        assert_eq!(read(&file, None).unwrap().shape(), [2], "{version}");
    }
}

#[test]
fn foreign_and_hostile_files_are_refused() {
    use ErrorCode::*;
    let good = file("'<f4'", "False", "(2,)", &[0; 8]);
    let huge = [b"\x93NUMPY\x02\x00\xff\xff\xff\xff".as_slice(), b"{"].concat();
    for (what, file, code) in [
        ("empty", vec![], InvalidInput),
        ("a picture", b"\x89PNG\r\n\x1a\n".to_vec(), InvalidInput),
        ("an archive", b"PK\x03\x04".to_vec(), InvalidInput),
        (
            "version 9",
            [b"\x93NUMPY\x09\x00", &good[8..]].concat(),
            InvalidInput,
        ),
        ("cut in the header", good[..20].to_vec(), InvalidInput),
        (
            "cut in the data",
            good[..good.len() - 1].to_vec(),
            InvalidInput,
        ),
        ("too long", [good.as_slice(), b"!"].concat(), InvalidInput),
        ("a huge header", huge, InvalidInput),
        (
            "a huge shape",
            file("'<f4'", "False", "(4294967296, 4294967296, 2)", &[]),
            WrongShape,
        ),
        (
            "a negative shape",
            file("'<f4'", "False", "(-1,)", &[]),
            InvalidInput,
        ),
        (
            "no shape",
            b"\x93NUMPY\x01\x00\x12\x00{'descr': '<f4'}\n ".to_vec(),
            InvalidInput,
        ),
        (
            "objects",
            file("'|O'", "False", "(1,)", &[0; 8]),
            UnsupportedDtype,
        ),
        (
            "records",
            file("[('a', '<f4')]", "False", "(1,)", &[0; 4]),
            UnsupportedDtype,
        ),
        (
            "dates",
            file("'<M8[ns]'", "False", "(1,)", &[0; 8]),
            UnsupportedDtype,
        ),
        (
            "long doubles",
            file("'<f16'", "False", "(1,)", &[0; 16]),
            UnsupportedDtype,
        ),
        (
            "bytes without a type",
            file("'|V2'", "False", "(1,)", &[0; 2]),
            UnsupportedDtype,
        ),
        (
            "no character",
            file("'<U1'", "False", "(1,)", &[0, 0xd8, 0, 0]),
            InvalidInput,
        ),
        (
            "no UTF-8",
            file("'|S1'", "False", "(1,)", &[0xff]),
            InvalidInput,
        ),
        (
            "a boolean of 2",
            file("'|b1'", "False", "(1,)", &[2]),
            InvalidInput,
        ),
        (
            "no quote",
            file("'<f4", "False", "(1,)", &[0; 4]),
            UnsupportedDtype,
        ),
        (
            "an empty type",
            file("''", "False", "(1,)", &[0; 4]),
            UnsupportedDtype,
        ),
        (
            "a type that is not ASCII",
            file("'é4'", "False", "(1,)", &[0; 4]),
            UnsupportedDtype,
        ),
    ] {
        let error = read(&file, Some(DType::F32)).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
    }
}

#[test]
fn damaged_headers_never_panic() {
    let good = file("'<f4'", "False", "(2, 3)", &[0; 24]);
    for at in 0..good.len() {
        let _ = read(&good[..at], None);
        for byte in *b"\0'\"(){},:<>|-0L9Vf\xff" {
            let mut changed = good.clone();
            changed[at] = byte;
            let _ = read(&changed, Some(DType::BF16));
        }
    }
}
