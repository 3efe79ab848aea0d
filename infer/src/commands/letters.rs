//! The ten digits as letters of few dots, to name digits on pictures.

use image::{Rgb, RgbImage};

/// Columns and rows of a letter, in dots.
pub const WIDTH: u32 = 3;
pub const HEIGHT: u32 = 5;
/// The ten digits, five rows of three pixels each, the left one highest.
const FONT: [[u8; HEIGHT as usize]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// Writes `digit` with its upper left corner at column and row `at`, `dot` pixels a dot.
pub fn write(picture: &mut RgbImage, digit: u8, at: [u32; 2], dot: u32, color: Rgb<u8>) {
    for (row, bits) in (0..).zip(FONT[usize::from(digit)]) {
        for column in (0..WIDTH).filter(|column| bits >> (WIDTH - 1 - column) & 1 == 1) {
            fill(picture, [at[0] + column * dot, at[1] + row * dot], [dot, dot], color);
        }
    }
}

/// Fills a rectangle of width and height `size`, as far as it lies on the picture.
pub fn fill(picture: &mut RgbImage, at: [u32; 2], size: [u32; 2], color: Rgb<u8>) {
    for y in at[1]..(at[1] + size[1]).min(picture.height()) {
        for x in at[0]..(at[0] + size[0]).min(picture.width()) {
            picture.put_pixel(x, y, color);
        }
    }
}
