//! The front end as a whole, on pictures that the tests draw.

use std::io::Cursor;

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageFormat, Luma, LumaA, RgbImage};

use super::*;
use crate::artefact::sha256;

/// A thick seven with the given ink and paper, away from the middle.
fn seven(ink: u8, paper: u8) -> GrayImage {
    GrayImage::from_fn(100, 80, |x, y| {
        let bar = (40..80).contains(&x) && (10..16).contains(&y);
        let stem = (10..70).contains(&y) && (x + y / 2).abs_diff(82) < 4;
        Luma([if bar || stem { ink } else { paper }])
    })
}

/// A ring, a bar and a seven, on two lines.
fn page() -> GrayImage {
    let mut page = GrayImage::from_pixel(320, 240, Luma([230]));
    for (x, y, pixel) in page.enumerate_pixels_mut() {
        let from_centre = (f64::from(x) - 50.0).hypot(f64::from(y) - 60.0);
        let ring = (22.0..28.0).contains(&from_centre);
        let bar = (140..146).contains(&x) && (32..90).contains(&y);
        let (sx, sy) = (x.wrapping_sub(160), y.wrapping_sub(140));
        let seven = sx < 100 && sy < 80 && seven(0, 255).get_pixel(sx, sy).0[0] == 0;
        if ring || bar || seven {
            pixel.0[0] = 40;
        }
    }
    page
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The picture shows the seven, give or take the smoothness of its edges and how dark its ink is.
#[track_caller]
fn check(image: impl Into<DynamicImage>) {
    let expected = read(&png(seven(255, 0))).unwrap();
    let found = read(&png(image)).unwrap();
    let far = |pair: (&u8, &u8)| *pair.0.min(pair.1) < 64 && *pair.0.max(pair.1) > 128;
    let different = found.0.iter().zip(&expected.0).filter(|&pair| far(pair)).count();
    assert!(different <= 8, "{different} pixels differ\n{found:?}{expected:?}");
}

#[test]
fn ink_and_paper_do_not_matter() {
    check(seven(0, 255));
    check(seven(40, 200));
    check(seven(220, 90));
}

#[test]
fn pixels_are_read_like_their_file() {
    let of_file = read_page(&png(page())).unwrap();
    let of_pixels = read_image(page().into()).unwrap();
    assert_eq!(format!("{of_file:?}"), format!("{of_pixels:?}"));
    assert!(matches!(
        read_image(GrayImage::new(0, 9).into()),
        Err(GlyphError::Blank)
    ));
    let (width, height) = page().dimensions();
    let longer = [page().into_raw(), vec![7; 9 * width as usize]].concat();
    let longer = read_image(GrayImage::from_raw(width, height, longer).unwrap().into()).unwrap();
    assert_eq!(format!("{of_file:?}"), format!("{longer:?}"));
    let long = GrayImage::new(decode::MAX_SIDE + 1, 1);
    assert!(matches!(read_image(long.into()), Err(GlyphError::TooLarge)));
}

#[test]
fn transparency_is_paper() {
    for ink in [0, 255] {
        check(GrayAlphaImage::from_fn(100, 80, |x, y| {
            LumaA([ink, seven(255, 0).get_pixel(x, y).0[0]])
        }));
    }
}

#[test]
fn a_transparent_edge_is_no_ink() {
    check(GrayAlphaImage::from_fn(104, 84, |x, y| match x < 100 && y < 80 {
        true => LumaA([seven(0, 255).get_pixel(x, y).0[0], 255]),
        false => LumaA([0, 0]),
    }));
}

#[test]
fn a_shadow_is_no_ink() {
    check(GrayImage::from_fn(100, 80, |x, y| {
        let light = 1.0 - 0.45 * ((x as f32 - 50.0) / 15.0).clamp(0.0, 1.0);
        Luma([(f32::from(seven(60, 240).get_pixel(x, y).0[0]) * light) as u8])
    }));
}

#[test]
fn a_table_around_the_paper_is_no_ink() {
    let mut table = GrayImage::from_pixel(130, 110, Luma([30]));
    image::imageops::replace(&mut table, &seven(60, 230), 15, 15);
    check(table);
}

#[test]
fn a_slope_of_light_is_no_ink() {
    check(GrayImage::from_fn(100, 80, |x, y| {
        let paper = 90.0 + 1.5 * x as f32;
        Luma([if seven(0, 255).get_pixel(x, y).0[0] == 0 {
            paper * 0.4
        } else {
            paper
        } as u8])
    }));
}

#[test]
fn colour_shows_where_brightness_does_not() {
    check(RgbImage::from_fn(100, 80, |x, y| {
        match seven(0, 255).get_pixel(x, y).0[0] {
            0 => image::Rgb([20, 110, 40]),
            _ => image::Rgb([230, 20, 20]),
        }
    }));
}

#[test]
fn a_frame_and_specks_are_no_ink() {
    let mut framed = GrayImage::from_fn(160, 140, |x, y| {
        let frame = (x == 10 || x == 150) && (10..130).contains(&y) || (y == 10 || y == 130) && (10..150).contains(&x);
        Luma([if frame { 0 } else { 255 }])
    });
    image::imageops::replace(&mut framed, &seven(0, 255), 30, 30);
    framed.put_pixel(20, 20, Luma([0]));
    check(framed);
}

#[test]
fn the_ink_fills_the_box_around_its_centre() {
    let digit = read(&png(seven(0, 255))).unwrap();
    let inked = |row: &usize| digit.0[row * SIDE..][..SIDE].iter().any(|&level| level > 0);
    assert_eq!((0..SIDE).filter(inked).count(), INK_BOX);
    let mass: f64 = digit.0.iter().map(|&level| f64::from(level)).sum();
    let moment = |(place, &level): (usize, &u8)| f64::from(level) * (place / SIDE) as f64;
    let middle = digit.0.iter().enumerate().map(moment).sum::<f64>() / mass;
    assert!((middle - CENTER).abs() <= 0.5, "{middle}");
    assert_eq!(digit.0.iter().max(), Some(&255));
}

#[test]
fn thin_strokes_get_a_usual_width() {
    let line = |width: u32| {
        GrayImage::from_fn(200, 200, |x, y| {
            Luma([if (100..100 + width).contains(&x) && (20..180).contains(&y) {
                0
            } else {
                255
            }])
        })
    };
    for width in [1, 3, 8] {
        let digit = read(&png(line(width))).unwrap();
        let ink: u32 = digit.0.iter().map(|&level| u32::from(level)).sum();
        let stroke = f64::from(ink) / 255.0 / INK_BOX as f64;
        assert!((1.8..3.0).contains(&stroke), "{width} px become {stroke}");
    }
}

#[test]
fn digits_come_line_by_line() {
    let found = read_page(&png(page())).unwrap();
    let lefts: Vec<Vec<u32>> = found
        .lines
        .iter()
        .map(|line| line.iter().map(|glyph| glyph.bounds.left / 10).collect())
        .collect();
    assert_eq!(lefts, [vec![2, 14], vec![20]]);
    assert_eq!(found.largest().unwrap().digit, read(&png(page())).unwrap());
}

/// Three lines of four fields, as near as on a form, and a digit in every field.
#[test]
fn a_form_comes_line_by_line() {
    let form = GrayImage::from_fn(460, 300, |x, y| {
        let (column, row) = (x.wrapping_sub(10) % 110, y.wrapping_sub(10) % 90);
        let frame = !(3..107).contains(&column) || !(3..87).contains(&row);
        let field = (10..450).contains(&x) && (10..280).contains(&y);
        let drawn = (4..104).contains(&column) && (4..84).contains(&row);
        let ink = frame || drawn && seven(0, 255).get_pixel(column - 4, row - 4).0[0] == 0;
        Luma([if field && ink { 40 } else { 230 }])
    });
    assert_eq!(counts(form), [4, 4, 4]);
}

#[test]
fn every_step_is_shown() {
    let mut names = Vec::new();
    read_watched(&png(page()), &mut |name, _| names.push(name.to_owned())).unwrap();
    assert_eq!(names, ["grey", "ink", "cleared", "marks", "digit", "digit", "digit"]);
}

#[track_caller]
fn check_refused(bytes: &[u8], reason: &str) {
    let error = read(bytes).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn says_why_there_is_no_digit() {
    check_refused(&png(GrayImage::new(28, 28)), "blank");
    check_refused(
        &png(GrayImage::from_fn(300, 200, |x, _| Luma([(x / 2) as u8]))),
        "blank",
    );
    let mut state = 1u32;
    let noise = GrayImage::from_fn(200, 200, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Luma([(state >> 24) as u8])
    });
    check_refused(&png(noise), "no digit found");
    let shadow = GrayImage::from_fn(300, 200, |x, y| Luma([if x + y / 5 < 170 { 230 } else { 80 }]));
    check_refused(&png(shadow), "blank");
    let paper = GrayImage::from_fn(300, 200, |x, y| Luma([if x < 280 && y > 20 { 230 } else { 40 }]));
    check_refused(&png(paper), "blank");
    let disc = GrayImage::from_fn(280, 280, |x, y| {
        Luma([if x.abs_diff(140).pow(2) + y.abs_diff(140).pow(2) < 10_000 {
            0
        } else {
            255
        }])
    });
    check_refused(&png(disc), "blank");
    let mut dot = GrayImage::from_pixel(100, 100, Luma([255]));
    dot.put_pixel(50, 50, Luma([0]));
    check_refused(&png(dot), "speck");
    let block = GrayImage::from_fn(100, 100, |x, y| {
        Luma([if (40..62).contains(&x) && (40..62).contains(&y) {
            0
        } else {
            255
        }])
    });
    check_refused(&png(block), "solid");
}

#[test]
fn refuses_broken_and_huge_files() {
    check_refused(b"<html>", "not a readable picture");
    check_refused(&png(GrayImage::new(decode::MAX_SIDE + 1, 1)), "too large");
    let mut cut = png(page());
    cut.truncate(cut.len() / 2);
    check_refused(&cut, "not a readable picture");
}

/// Pictures of any kind of pixel are shrunk alike, whether at once or in strips.
#[test]
fn every_kind_of_pixel_is_shrunk() {
    let large = image::imageops::resize(&seven(0, 255), 1500, 1200, image::imageops::FilterType::Nearest);
    let large = DynamicImage::ImageLuma8(large);
    check(large.clone());
    check(large.to_luma_alpha8());
    check(large.to_luma16());
    check(large.to_luma_alpha16());
    check(large.to_rgb8());
    check(large.to_rgba8());
    check(large.to_rgb16());
    check(large.to_rgba16());
}

/// As large as pictures are worked on, in black and white: sums and products are the largest that there can be.
#[test]
fn a_large_texture_does_not_overflow() {
    let dots = GrayImage::from_fn(1000, 1000, |x, y| Luma([if x % 4 + y % 4 == 0 { 0 } else { 255 }]));
    check_refused(&png(dots), "no digit found");
}

/// How much ink a picture's digit has.
fn mass(image: GrayImage) -> f64 {
    let digit = read(&png(image)).unwrap();
    digit.0.iter().map(|&level| f64::from(level)).sum()
}

/// The edges are most of a digit on so few pixels, and the box lies on the picture as it is.
#[test]
fn a_small_picture_is_read_like_a_large_one() {
    let small = image::imageops::resize(&seven(255, 0), 25, 20, image::imageops::FilterType::Triangle);
    let ratio = mass(small.clone()) / mass(seven(255, 0));
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    let page = read_page(&png(small)).unwrap();
    let bounds = page.largest().unwrap().bounds;
    assert!(
        (9..=11).contains(&bounds.left) && (19..=21).contains(&bounds.right()),
        "{bounds:?}"
    );
    assert!(
        (2..=3).contains(&bounds.top) && (17..=18).contains(&bounds.bottom()),
        "{bounds:?}"
    );
}

/// Grey levels are those of the picture, so that what is blurred stays thin.
#[test]
fn blurred_ink_does_not_grow() {
    let ratio = mass(image::imageops::blur(&seven(0, 255), 2.0)) / mass(seven(0, 255));
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn what_a_crop_left_of_a_box_is_no_ink() {
    let sides: [fn(u32, u32) -> bool; 4] = [
        |x, y| x == 10 && y >= 8 || y == 8 && x >= 10,
        |x, y| (x == 10 || x == 125) && y >= 60 || y == 95 && (10..=125).contains(&x),
        |x, _| x < 2,
        |x, y| x == 125 || y == 95,
    ];
    for is_line in sides {
        let mut cut = GrayImage::from_fn(135, 100, |x, y| Luma([if is_line(x, y) { 60 } else { 255 }]));
        for (x, y, pixel) in seven(0, 255).enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] == 0) {
            cut.put_pixel(x + 20, y + 15, *pixel);
        }
        assert_eq!(counts(cut.clone()), [1]);
        check(cut);
    }
}

/// How many digits stand on each line of a picture.
fn counts(image: GrayImage) -> Vec<usize> {
    read_page(&png(image)).unwrap().lines.iter().map(Vec::len).collect()
}

/// Two sevens that the border does not cut though they touch it, and a lower ring between them.
#[test]
fn a_line_that_is_cropped_to_its_ink_is_whole() {
    let ring = |x: u32, y: u32| (20.0..26.0).contains(&(f64::from(x) - 80.0).hypot(f64::from(y) - 30.0));
    let mut line = GrayImage::from_fn(163, 60, |x, y| Luma([if ring(x, y) { 0 } else { 255 }]));
    let seven = image::imageops::crop_imm(&seven(0, 255), 40, 10, 41, 60).to_image();
    image::imageops::replace(&mut line, &seven, 0, 0);
    image::imageops::replace(&mut line, &seven, 122, 0);
    assert_eq!(counts(line), [3]);
}

#[test]
fn stems_in_a_low_picture_are_no_ruled_lines() {
    let stems = GrayImage::from_fn(200, 24, |x, y| {
        Luma([if x % 40 / 3 == 6 && (2..22).contains(&y) {
            0
        } else {
            255
        }])
    });
    assert_eq!(counts(stems), [5]);
}

/// The picture's own size is small, that of the picture in it is not.
#[test]
fn a_gif_is_no_larger_than_its_screen() {
    let mut gif = Cursor::new(Vec::new());
    let large = DynamicImage::ImageRgba8(image::RgbaImage::new(3000, 3000));
    large.write_to(&mut gif, ImageFormat::Gif).unwrap();
    let mut gif = gif.into_inner();
    // The screen's width and height stand behind the six bytes of the signature.
    gif[6..10].copy_from_slice(&[10, 0, 10, 0]);
    check_refused(&gif, "too large");
}

#[test]
fn shapes_of_any_size_do_not_panic() {
    for (width, height) in [(1, 1), (1, 500), (500, 1), (2, 3), (7, 7), (3000, 2)] {
        for step in [1, 2, 5] {
            let stripes = GrayImage::from_fn(width, height, |x, y| Luma([if (x + y) % step == 0 { 0 } else { 255 }]));
            let _ = read_page(&png(stripes));
        }
    }
}

/// The same picture gives the same digit, bit for bit, wherever it is read. Whoever changes the front end on purpose
/// puts the new sum here.
#[test]
fn drawn_pictures_are_pinned() {
    let pictures = [seven(0, 255), seven(220, 90), page()];
    let mut bytes = Vec::new();
    for picture in pictures {
        for glyph in read_page(&png(picture)).unwrap().lines.iter().flatten() {
            bytes.extend(glyph.digit.0);
        }
    }
    assert_eq!(
        sha256(&bytes),
        "dd87439bd70d14a9d8811d75901a8b509001fadf21e010d69fdd0820cfdd7ce7"
    );
}

#[test]
fn every_rung_of_the_ladder_gives_a_digit() {
    let bytes = png(seven(0, 255));
    let digits: Vec<Digit> = ladder::Rung::ALL
        .map(|rung| ladder::read_up_to(&bytes, rung).unwrap())
        .into();
    assert_eq!(digits.last(), Some(&read(&bytes).unwrap()));
    assert!(digits.windows(2).all(|pair| pair[0] != pair[1] || pair[0] == digits[3]));
}
