//! Writes the code of the Rust client: `generator CONTRACT` prints it.

use std::{error::Error, fs};

use progenitor_impl::{GenerationSettings, Generator, InterfaceStyle};

fn main() -> Result<(), Box<dyn Error>> {
    let contract = std::env::args().nth(1).ok_or("generator CONTRACT")?;
    // Progenitor has types for `application/json` alone: other bodies would be streams.
    let contract =
        fs::read_to_string(contract)?.replace("application/problem+json", "application/json");
    let contract = serde_json::from_str(&contract)?;
    let mut settings = GenerationSettings::new();
    settings.with_interface(InterfaceStyle::Builder);
    let code = Generator::new(&settings).generate_tokens(&contract)?;
    println!("//! A client of Headwater, generated from its contract.\n\n{code}");
    Ok(())
}
