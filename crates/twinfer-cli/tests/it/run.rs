//! run: raw tensors, natively and in the component.

use std::fs;

use crate::server::component;
use crate::support::{Place, core_model, floats, npy};

#[test]
fn every_output_becomes_a_file() {
    let place = Place::new();
    place.write("x.npy", npy("<f4", "(2, 30)", &floats(60)));
    let text = place.good(&[
        "run",
        &core_model("forest_binary"),
        "--input",
        "X=x.npy",
        "--output-dir",
        "new/out",
    ]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let file = |name: &str| fs::read(place.path("new/out").join(name)).unwrap();
    assert!(
        file("output_label.npy")
            .windows(8)
            .any(|w| w == b"'shape':")
    );
    assert!(String::from_utf8_lossy(&file("output_label.npy")).contains("'<U"));
    assert!(
        String::from_utf8_lossy(&file("output_probability.npy"))
            .contains("'<f4', 'fortran_order': False, 'shape': (2, 2)")
    );
    assert!(String::from_utf8_lossy(&file("output_probability.keys.npy")).contains("(2,)"));
}

#[test]
fn names_with_slashes_and_colons_become_file_names() {
    let place = Place::new();
    place.write("x.npy", npy("<f4", "(1, 1, 2)", &floats(2)));
    let json = place.json(&[
        "run",
        &core_model("untidy"),
        "--input",
        "in/x:0=x.npy",
        "--output-dir",
        "out",
    ]);
    let mut names: Vec<&str> = json["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["file"].as_str().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["out/out_y_0.npy", "out/shape_0.npy", "out/sum.npy"]);
}

#[test]
fn types_and_orders_of_numpy_are_read() {
    let place = Place::new();
    let big_endian: Vec<u8> = [1i64, -2, 3].iter().flat_map(|v| v.to_be_bytes()).collect();
    place.write("i.npy", npy(">i8", "(3,)", &big_endian));
    place.write("b.npy", npy("|b1", "(2,)", &[1, 0]));
    place.write("d.npy", npy("<f8", "(1,)", &1.5f64.to_le_bytes()));
    place.good(&[
        "run",
        &core_model("types"),
        "-i",
        "i=i.npy",
        "-i",
        "b=b.npy",
        "-i",
        "d=d.npy",
        "-o",
        "out",
    ]);
    let doubled = fs::read(place.path("out/i2.npy")).unwrap();
    assert!(doubled.ends_with(&[2i64, -4, 6].map(i64::to_le_bytes).concat()));
    assert!(
        fs::read(place.path("out/nb.npy"))
            .unwrap()
            .ends_with(&[0, 1])
    );
}

#[test]
fn wrong_tensors_are_refused_before_anything_is_written() {
    let place = Place::new();
    let run = |inputs: &[&str], code| {
        let inputs: Vec<&str> = inputs.iter().flat_map(|input| ["--input", input]).collect();
        let error = place.bad(
            &[
                &["run", &core_model("forest_binary"), "--output-dir", "out"],
                &inputs[..],
            ]
            .concat(),
            code,
            1,
        );
        assert!(!place.path("out").exists(), "{error}");
    };
    place.write("x.npy", npy("<f4", "(2, 30)", &floats(60)));
    place.write("narrow.npy", npy("<f4", "(2, 29)", &floats(58)));
    place.write("flat.npy", npy("<f4", "(30,)", &floats(30)));
    place.write("double.npy", npy("<f8", "(0, 30)", &[]));
    place.write("cut.npy", npy("<f4", "(2, 30)", &floats(59)));
    place.write("objects.npy", npy("|O", "(1,)", &[0; 8]));
    place.write("text.npy", "1,2,3");
    run(&[], "missing_input");
    run(&["Y=x.npy"], "unknown_input");
    run(&["X=x.npy", "Y=x.npy"], "unknown_input");
    run(&["X=x.npy", "X=x.npy"], "invalid_input");
    run(&["X=narrow.npy"], "wrong_shape");
    run(&["X=flat.npy"], "wrong_shape");
    run(&["X=double.npy"], "wrong_dtype");
    run(&["X=cut.npy"], "invalid_input");
    run(&["X=objects.npy"], "unsupported_dtype");
    run(&["X=text.npy"], "invalid_input");
    run(&["X=none.npy"], "invalid_input");
}

#[test]
fn what_is_neither_file_nor_package() {
    let place = Place::new();
    place.bad(
        &["run", "none.onnx", "--output-dir", "out"],
        "invalid_model",
        1,
    );
    place.bad(
        &["run", "No Model", "--output-dir", "out"],
        "invalid_reference",
        1,
    );
    place.bad(&["run", "model", "--output-dir", "out"], "storage", 4);
    place.bad(
        &[
            "run",
            "model.onnx",
            "--output-dir",
            "out",
            "--target",
            "component",
            "--component",
            "none.wasm",
        ],
        "storage",
        4,
    );
}

#[test]
fn the_component_gives_the_same_files() {
    let place = Place::new();
    let component = component();
    let component = component.to_str().unwrap();
    place.pack("tumour-risk");
    place.write("x.npy", npy("<f4", "(3, 30)", &floats(90)));
    let run = |model: &str, input: &str, out: &str, more: &[&str]| {
        place.good(&[&["run", model, "--input", input, "--output-dir", out], more].concat());
    };
    let in_component = ["--target", "component", "--component", component];
    run("tumour-risk", "X=x.npy", "native", &[]);
    run("tumour-risk", "X=x.npy", "component", &in_component);
    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(place.path(folder))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("native"), names("component"));
    for name in ["output_label.npy", "output_probability.keys.npy"] {
        assert_eq!(
            fs::read(place.path("native").join(name)).unwrap(),
            fs::read(place.path("component").join(name)).unwrap(),
            "{name}"
        );
    }
    // A bare file, with names that are no file names.
    place.write("y.npy", npy("<f4", "(1, 1, 2)", &floats(2)));
    run(&core_model("untidy"), "in/x:0=y.npy", "untidy-native", &[]);
    run(
        &core_model("untidy"),
        "in/x:0=y.npy",
        "untidy-component",
        &in_component,
    );
    assert_eq!(names("untidy-native"), names("untidy-component"));
    let shape = |folder: &str| fs::read(place.path(folder).join("shape_0.npy")).unwrap();
    assert_eq!(shape("untidy-native"), shape("untidy-component"));

    // Errors of the component keep their codes.
    place.write("z.npy", npy("<f4", "(3, 29)", &floats(87)));
    let arguments = [
        "run",
        "tumour-risk",
        "--input",
        "X=z.npy",
        "--output-dir",
        "none",
    ];
    place.bad(&[&arguments[..], &in_component].concat(), "wrong_shape", 1);
    assert!(!place.path("none").exists());
}
