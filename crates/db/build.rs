//! The migrations are embedded in the program: a changed one must be embedded anew.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
