//! The prefix engine against plain models: any history, real tables, readers beside a
//! writer, and its promises on memory and cost.

mod bounds;
mod classes;
mod concurrent;
mod history;
#[path = "../support/oracle.rs"]
mod oracle;
mod real;
