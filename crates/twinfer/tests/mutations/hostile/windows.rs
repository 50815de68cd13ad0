//! Windows that do not fit.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let image = || x(&[1, 1, 2, 2]);
    let kernel = |size: i64| ints("kernel_shape", &[size, size]);
    let same = |name: &str, n: i64, count: usize| ints(name, &vec![n; count]);
    let conv = |size: usize| vec![image(), x(&[1, 1, size, size])];
    vec![
        case("Conv", &[], conv(3), FLOAT, RefusedGiven),
        case("Conv", &[same("pads", 1, 4)], conv(5), FLOAT, RefusedGiven),
        case("Conv", &[same("pads", -2, 4)], conv(1), FLOAT, Refused),
        case("Conv", &[same("strides", 0, 2)], conv(1), FLOAT, Refused),
        case("Conv", &[same("strides", -1, 2)], conv(1), FLOAT, Refused),
        case("Conv", &[same("dilations", 0, 2)], conv(1), FLOAT, Refused),
        case(
            "Conv",
            &[same("dilations", 2, 2)],
            conv(2),
            FLOAT,
            RefusedGiven,
        ),
        case("Conv", &[int("group", 0)], conv(1), FLOAT, Refused),
        case("Conv", &[int("group", 2)], conv(1), FLOAT, Refused),
        case("Conv", &[int("group", -1)], conv(1), FLOAT, Refused),
        case("Conv", &[], vec![image(), x(&[1, 2, 1, 1])], FLOAT, Refused),
        case("Conv", &[], vec![image(), x(&[1, 1, 1])], FLOAT, Refused),
        case(
            "Conv",
            &[],
            vec![x(&[0, 1, 2, 2]), x(&[1, 1, 1, 1])],
            FLOAT,
            Shape(&[0, 1, 2, 2]),
        ),
        case("Conv", &[same("pads", 1 << 20, 4)], conv(1), FLOAT, Refused),
        case("MaxPool", &[kernel(3)], vec![image()], FLOAT, RefusedGiven),
        case("MaxPool", &[kernel(0)], vec![image()], FLOAT, Refused),
        case(
            "MaxPool",
            &[kernel(1), same("strides", 0, 2)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "MaxPool",
            &[kernel(1), same("pads", 1 << 20, 4)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "AveragePool",
            &[kernel(3)],
            vec![image()],
            FLOAT,
            RefusedGiven,
        ),
        case("AveragePool", &[kernel(-1)], vec![image()], FLOAT, Refused),
        case("LpPool", &[kernel(3)], vec![image()], FLOAT, Refused),
        case(
            "ConvTranspose",
            &[ints("output_shape", &[LARGE, LARGE])],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("strides", 1 << 24, 2)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("strides", 0, 2)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("pads", 5, 4)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case("ConvTranspose", &[int("group", 0)], conv(1), FLOAT, Refused),
        case(
            "GridSample",
            &[],
            vec![image(), F(vec![1, 1, 1, 2], vec![f32::NAN, 1e30])],
            FLOAT,
            Wraps,
        ),
        case(
            "GridSample",
            &[],
            vec![x(&[1, 1, 0, 0]), x(&[1, 1, 1, 2])],
            FLOAT,
            Anything,
        ),
        case(
            "Upsample",
            &[floats("scales", &[1.0, 1.0, 1e30, 1.0])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "InstanceNormalization",
            &[float("epsilon", f32::NAN)],
            vec![image(), x(&[1]), x(&[1])],
            FLOAT,
            Anything,
        ),
    ]
}
