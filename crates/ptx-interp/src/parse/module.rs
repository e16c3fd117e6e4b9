//! What stands outside of kernels, and their heads.

use std::collections::HashMap;

use super::body::Body;
use super::cursor::Cursor;
use super::lexer::{TokenKind, tokens};
use super::variable::{Init, Variable};
use crate::module::Global;
use crate::{Kernel, Module, Param, ParseError};

/// Bytes that the parameters of a kernel may have.
const MAX_PARAMS_BYTES: u32 = 32_764;

/// Parses the text of a module.
pub(crate) fn parse(text: &str) -> Result<Module, ParseError> {
    let tokens = tokens(text)?;
    let mut parser = ModuleParser {
        cursor: Cursor::new(&tokens),
        module: Module {
            target: String::new(),
            version: (0, 0),
            kernels: Vec::new(),
            globals: Vec::new(),
        },
        scope: ModuleScope { dynamic_align: 16, ..ModuleScope::default() },
        pointers: Vec::new(),
    };
    while !parser.cursor.at_end() {
        parser.item()?;
    }
    parser.finish()
}

/// The names that kernels see.
#[derive(Default)]
pub(super) struct ModuleScope<'a> {
    /// Index of each `.global` and `.const` variable.
    pub(super) globals: HashMap<&'a str, usize>,
    /// Static shared memory, which each kernel that uses it has for itself.
    pub(super) shared: HashMap<&'a str, Variable<'a>>,
    /// Names of the dynamic shared memory (`.extern .shared`): all name the same bytes.
    pub(super) dynamic: Vec<&'a str>,
    /// Its alignment in bytes.
    pub(super) dynamic_align: u32,
}

struct ModuleParser<'a, 't> {
    cursor: Cursor<'a, 't>,
    module: Module,
    scope: ModuleScope<'a>,
    /// Pointers in initial values: variable, offset in it, name of the target, line.
    pointers: Vec<(usize, usize, &'a str, u32)>,
}

impl<'a> ModuleParser<'a, '_> {
    fn item(&mut self) -> Result<(), ParseError> {
        let line = self.cursor.line();
        let word = self.cursor.word("a directive")?;
        match word {
            ".version" => self.version(),
            ".target" => self.target(),
            ".address_size" => match self.cursor.small()? {
                64 => Ok(()),
                bits => self.cursor.fail(format!("addresses of {bits} bits, expected 64")),
            },
            ".file" | ".pragma" => {
                hint(&mut self.cursor, word);
                Ok(())
            }
            ".visible" | ".weak" => Ok(()),
            ".extern" => self.dynamic_shared(),
            ".entry" => self.kernel(),
            ".global" | ".const" => self.global(),
            ".shared" => {
                let variable = Variable::parse(&mut self.cursor)?;
                self.scope.shared.insert(variable.name, variable);
                self.cursor.punct(b';')
            }
            ".func" => {
                let message = "device functions are not supported; have the compiler inline them";
                Err(ParseError { line, message: message.to_owned() })
            }
            _ => Err(ParseError { line, message: format!("unknown directive {word}") }),
        }
    }

    /// `.version 9.0`: the lexer takes `.0` for a word.
    fn version(&mut self) -> Result<(), ParseError> {
        let major = self.cursor.small()?;
        let minor = self.cursor.word("a version such as 9.0")?;
        match minor.strip_prefix('.').and_then(|minor| minor.parse().ok()) {
            Some(minor) => {
                self.module.version = (major, minor);
                Ok(())
            }
            None => self.cursor.fail(format!("{major}{minor} is no version")),
        }
    }

    fn target(&mut self) -> Result<(), ParseError> {
        self.module.target = self.cursor.word("an architecture such as sm_90a")?.to_owned();
        while self.cursor.take_punct(b',') {
            self.cursor.word("an option of the target")?;
        }
        Ok(())
    }

    fn dynamic_shared(&mut self) -> Result<(), ParseError> {
        if !self.cursor.take_word(".shared") {
            return self.cursor.expected("`.shared`: nothing else may be external");
        }
        let variable = Variable::parse(&mut self.cursor)?;
        self.scope.dynamic.push(variable.name);
        self.scope.dynamic_align = self.scope.dynamic_align.max(variable.align);
        self.cursor.punct(b';')
    }

    fn global(&mut self) -> Result<(), ParseError> {
        let line = self.cursor.line();
        let variable = Variable::parse(&mut self.cursor)?;
        let init = Init::parse(&mut self.cursor, variable.ty)?;
        let bytes = variable.bytes.max(init.bytes.len() as u64).max(1);
        let index = self.module.globals.len();
        for (offset, target) in init.pointers {
            self.pointers.push((index, offset, target, line));
        }
        self.scope.globals.insert(variable.name, index);
        let (name, init) = (variable.name.to_owned(), init.bytes);
        self.module.globals.push(Global { name, bytes, init, pointers: Vec::new() });
        self.cursor.punct(b';')
    }

    fn kernel(&mut self) -> Result<(), ParseError> {
        let name = self.cursor.word("the name of a kernel")?;
        let (params, offsets) = self.params()?;
        let limits = Limits::parse(&mut self.cursor)?;
        self.cursor.punct(b'{')?;
        let body = Body::parse(&mut self.cursor, &self.scope, offsets)?;
        self.module.kernels.push(Kernel {
            name: name.to_owned(),
            params,
            max_threads: limits.max_threads,
            required_block: limits.required_block,
            required_cluster: limits.required_cluster,
            shared_bytes: body.shared_bytes,
            dynamic_shared_offset: body.dynamic_shared_offset,
            local_bytes: body.local_bytes,
            num_registers: body.num_registers,
            code: body.code,
        });
        Ok(())
    }

    fn params(&mut self) -> Result<(Vec<Param>, HashMap<&'a str, u32>), ParseError> {
        let (mut params, mut offsets) = (Vec::new(), HashMap::new());
        let mut end = 0u32;
        if !self.cursor.take_punct(b'(') {
            return Ok((params, offsets));
        }
        while !self.cursor.take_punct(b')') {
            if !self.cursor.take_word(".param") {
                return self.cursor.expected("`.param`");
            }
            let variable = Variable::parse(&mut self.cursor)?;
            let Ok(size) = u32::try_from(variable.bytes) else {
                return self.cursor.fail(format!("{} is too large", variable.name));
            };
            let offset = end.checked_next_multiple_of(variable.align);
            let past = offset.and_then(|offset| offset.checked_add(size));
            let (Some(offset), Some(past @ ..=MAX_PARAMS_BYTES)) = (offset, past) else {
                let most = MAX_PARAMS_BYTES;
                return self.cursor.fail(format!("the parameters have more than {most} bytes"));
            };
            params.push(Param { offset, size, align: variable.align });
            offsets.insert(variable.name, offset);
            end = past;
            if !self.cursor.is_punct(b')') {
                self.cursor.punct(b',')?;
            }
        }
        Ok((params, offsets))
    }

    fn finish(mut self) -> Result<Module, ParseError> {
        for (variable, offset, target, line) in self.pointers {
            let Some(&target) = self.scope.globals.get(target) else {
                return Err(ParseError { line, message: format!("unknown variable {target}") });
            };
            self.module.globals[variable].pointers.push((offset, target));
        }
        match self.module.version {
            (0, _) => Err(ParseError { line: 1, message: "no .version: not PTX".to_owned() }),
            _ => Ok(self.module),
        }
    }
}

/// What a kernel says about its launches.
#[derive(Default)]
struct Limits {
    max_threads: Option<u32>,
    required_block: Option<[u32; 3]>,
    required_cluster: Option<[u32; 3]>,
}

impl Limits {
    /// Parses the directives between the parameters and the body.
    fn parse(cursor: &mut Cursor<'_, '_>) -> Result<Self, ParseError> {
        let mut limits = Self::default();
        while !cursor.is_punct(b'{') {
            match cursor.word("`{`")? {
                ".maxntid" => limits.max_threads = Some(product(cursor)?),
                ".reqntid" => {
                    let block = extent(cursor)?;
                    limits.required_block = Some(block);
                    limits.max_threads = Some(block.iter().product());
                }
                ".reqnctapercluster" => limits.required_cluster = Some(extent(cursor)?),
                // How `ptxas` shares out a multiprocessor.
                ".minnctapersm" | ".maxnreg" | ".maxclusterrank" => {
                    cursor.small()?;
                }
                ".explicitcluster" => {}
                ".pragma" => hint(cursor, ".pragma"),
                word => return cursor.fail(format!("unknown directive {word} of a kernel")),
            }
        }
        Ok(limits)
    }
}

/// `4`, `4, 2` or `4, 2, 1`.
fn extent(cursor: &mut Cursor<'_, '_>) -> Result<[u32; 3], ParseError> {
    let mut extent = [cursor.small()?, 1, 1];
    for dimension in &mut extent[1..] {
        if cursor.take_punct(b',') {
            *dimension = cursor.small()?;
        }
    }
    Ok(extent)
}

fn product(cursor: &mut Cursor<'_, '_>) -> Result<u32, ParseError> {
    match extent(cursor)?.iter().try_fold(1u32, |product, &n| product.checked_mul(n)) {
        Some(product) => Ok(product),
        None => cursor.fail("more threads than a block can have"),
    }
}

/// Passes over a directive that has no meaning for an interpreter: `.file` and `.loc` are for
/// debuggers, and unknown pragmas must be ignored by the rules of PTX.
pub(super) fn hint(cursor: &mut Cursor<'_, '_>, directive: &str) {
    let line = cursor.line();
    let in_hint = |cursor: &Cursor<'_, '_>| match directive {
        ".pragma" => !cursor.is_punct(b';'),
        _ => cursor.line() == line,
    };
    while in_hint(cursor) && cursor.peek(0).kind != TokenKind::End {
        cursor.next();
    }
    cursor.take_punct(b';');
}
