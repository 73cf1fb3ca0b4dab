//! Everything that the README of the repository, those of the filters and some pages show is true:
//! a running sandbox prints the output of their commands, and Envoy accepts their documents and the
//! parts of its configuration.
//!
//! Each README has a line in [`READMES`] with all of its code blocks. A block that is missing there
//! fails the test.

mod configuration;
mod sandbox;
mod script;
mod tutorials;

use std::fs;

use serde_json::Value;
use sluice_e2e::workspace;
use sluice_scenarios::readme::{Block, blocks};

use crate::configuration::Place;

/// A README, and the kinds of its code blocks in order.
struct Readme {
    file: &'static str,
    blocks: &'static [Kind],
}

/// What a code block is, and what is tested.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Commands with their output. The sandbox runs them.
    Commands,
    /// Commands with their output that start an Envoy of their own. The file that they need is the
    /// document before them.
    Script,
    /// A document that the module accepts in this place. Also a part of the sandbox's document.
    Sandbox(&'static str, Place),
    /// The same for a document that the sandbox does not have.
    Document(&'static str, Place),
    /// Fields of one VirtualService in the sandbox.
    VirtualService,
    /// A document of all filters.
    Complete,
    /// Parts of an Envoy configuration, which Envoy accepts.
    Envoy,
    /// Fields of Envoy's bootstrap configuration, which the sandbox has too.
    Bootstrap,
    /// Lines of the sandbox's log with these fields, after the commands.
    Log,
    /// Anything else; the text is its beginning. It is not tested here.
    Other(&'static str),
}

use Kind::{
    Bootstrap, Commands, Complete, Document, Envoy, Log, Other, Sandbox, Script, VirtualService,
};
use Place::{Http, Network, Upstream};

/// In the order in which the sandbox runs their commands: the mirror filter shows counters of
/// services, which later commands increase, and the outlier filter ejects a host of a service.
const READMES: [Readme; 12] = [
    Readme {
        file: "filters/mirror/README.md",
        blocks: &[Envoy, Document("mirror", Http), Commands, Other("mirror route=")],
    },
    Readme {
        file: "README.md",
        blocks: &[
            Other("make playground sandbox"), // tests/playground
            VirtualService,
            Commands,
        ],
    },
    Readme {
        file: "docs/configuration.md",
        blocks: &[
            Complete,
            Other("virtualServices[0].http[1].route[0].weight: -1 is negative"),
            Other("configuration: is 16777217 bytes long"), // cli/tests/limits.rs
            Other("configuration: needs 37 MiB"),
        ],
    },
    Readme {
        file: "docs/sandbox.md",
        blocks: &[Other("make sandbox "), Other("make build")], // tests/playground, tests/compose
    },
    Readme {
        file: "docs/operations.md",
        blocks: &[
            Other("sluice check rules/"), // cli/tests/readme.rs
            Document("sluice", Http),
            Other("sluice render shadow.yaml"), // cli/tests/readme.rs
            Document("router", Http),
            Commands,
            Commands,
            Other("virtualServices[0].http[1].rout: unknown field"),
            Other("   unmatchedHosts: pass"), // filters/policy
            Commands,
            Envoy,
        ],
    },
    Readme {
        file: "filters/router/README.md",
        blocks: &[
            Envoy,
            Envoy,
            Document("router", Http),
            Document("router", Http),
            Document("router", Http),
            Other("user(value)"),
            Commands,
            Commands,
            Commands,
            Commands,
            Commands,
            Other("sluice.router.requests;route=ROUTE"),
            Bootstrap,
            Document("router", Http),
            Other("shadow difference="),
            Other("                               10 rules"),
        ],
    },
    Readme {
        file: "filters/fault/README.md",
        blocks: &[
            Document("fault", Http),
            Document("fault", Http),
            Document("fault", Http),
            Commands,
            Commands,
        ],
    },
    Readme {
        file: "filters/egress/README.md",
        blocks: &[
            Sandbox("egress", Http),
            Commands,
            Sandbox("egress", Network),
            Commands,
            Commands,
        ],
    },
    Readme {
        file: "filters/sluice/README.md",
        blocks: &[Document("sluice", Http), Commands, Commands, Envoy],
    },
    Readme {
        file: "filters/native/README.md",
        blocks: &[Envoy, Envoy, Envoy, Envoy, Document("sluice", Http), Script],
    },
    Readme {
        file: "filters/sni/README.md",
        blocks: &[Sandbox("sni", Network), Commands, Sandbox("sni", Http), Commands, Commands, Log],
    },
    Readme {
        file: "filters/outlier/README.md",
        blocks: &[
            Envoy,
            Envoy,
            Sandbox("outlier", Upstream),
            Commands,
            Commands,
            Document("outlier", Upstream),
            Other("outlier event="),
        ],
    },
];

impl Readme {
    /// Returns the blocks with their kinds.
    fn blocks(&self) -> Vec<(Block, Kind)> {
        let file = self.file;
        let text = fs::read_to_string(workspace().join(file)).unwrap();
        let found = blocks(&text).unwrap_or_else(|error| panic!("{file}:{error}"));
        for (index, block) in found.iter().enumerate() {
            let kind = self.blocks.get(index);
            let fits = kind.is_some_and(|kind| kind.allows(block));
            assert!(
                fits,
                "{file}:{}: is another kind of block than READMES says: {kind:?}",
                block.line
            );
        }
        assert_eq!(found.len(), self.blocks.len(), "{file} has fewer blocks than READMES says");
        found.into_iter().zip(self.blocks.iter().copied()).collect()
    }
}

impl Kind {
    /// Whether the block can be of this kind.
    fn allows(self, block: &Block) -> bool {
        let is_yaml = block.fence.as_deref() == Some("yaml");
        let is_command = block.text.starts_with("$ ");
        match self {
            Commands | Script => block.fence.is_none() && is_command,
            Log => block.fence.is_none() && block.text.lines().all(|line| line.contains('=')),
            Other(beginning) => {
                block.fence.is_none() && !is_command && block.text.starts_with(beginning)
            }
            Sandbox(..) | Document(..) | VirtualService | Complete | Envoy | Bootstrap => is_yaml,
        }
    }
}

/// Returns whether `whole` has all fields and list entries of `part`, with the same values.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| has(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole.iter().zip(part).all(|(whole, part)| has(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn every_filter_has_a_readme_here() {
    for entry in fs::read_dir(workspace().join("filters")).unwrap() {
        let file = format!("filters/{}/README.md", entry.unwrap().file_name().to_str().unwrap());
        let is_here = READMES.iter().any(|readme| readme.file == file);
        assert_eq!(is_here, workspace().join(&file).is_file(), "{file}");
    }
}

#[test]
fn unlisted_blocks_are_found() {
    let text = |text: &str| Block { fence: None, text: text.to_owned(), line: 1 };
    assert!(Commands.allows(&text("$ curl\n")));
    assert!(!Commands.allows(&text("curl\n")));
    assert!(!Other("").allows(&text("$ curl\n")));
    assert!(!Log.allows(&text("a b=1\nc\n")));
    assert!(!Envoy.allows(&text("a: 1\n")));
    let fenced = |fence: &str| Block { fence: Some(fence.to_owned()), ..text("a: 1\n") };
    assert!(Envoy.allows(&fenced("yaml")));
    assert!(!Other("a").allows(&fenced("sh")));
}
