//! The body of a kernel: declarations, labels and instructions.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::module::ModuleScope;
use super::statement::{Statement, Type};
use super::variable::Variable;
use crate::ParseError;
use crate::exec::env::MAX_SHARED_BYTES;
use crate::instruction::{Code, Constant, Guard, Instruction, Op, Touched};
use crate::lanes::{Kind, Register, RegisterCounts};

/// Local memory that a thread may have.
const MAX_LOCAL_BYTES: u32 = 512 << 10;

/// A kernel while it is parsed.
pub(crate) struct Body<'a, 'm> {
    pub(super) module: &'m ModuleScope<'a>,
    scopes: Vec<Scope<'a>>,
    /// The scopes that are open, innermost last.
    open: Vec<usize>,
    pub(super) counts: RegisterCounts,
    pub(super) constants: HashMap<(Kind, Constant), Register>,
    instructions: Vec<Instruction>,
    /// The registers that each instruction touches, and those of the one being decoded.
    touched: Vec<Touched>,
    read: Vec<Register>,
    written: Vec<Register>,
    /// Guard and line of the instruction being decoded.
    guard: Option<Guard>,
    line: u32,
    /// Labels that branches name, and the scope and line of the branch.
    targets: Vec<(&'a str, usize, u32)>,
    /// Offset of each parameter.
    pub(super) params: HashMap<&'a str, u32>,
    pub(super) shared: Layout<'a>,
    pub(super) local: Layout<'a>,
}

/// What a pair of braces encloses.
#[derive(Default)]
struct Scope<'a> {
    parent: Option<usize>,
    registers: HashMap<&'a str, Register>,
    /// `.reg .b32 %r<10>` as ("%r", type, 10).
    ranges: Vec<(&'a str, Type, u32)>,
    labels: HashMap<&'a str, u32>,
    tables: HashMap<&'a str, Vec<&'a str>>,
}

/// Variables of one state space, one behind the other.
pub(super) struct Layout<'a> {
    offsets: HashMap<&'a str, u32>,
    pub(super) bytes: u32,
    /// Bytes that there may be.
    limit: u32,
}

impl<'a> Layout<'a> {
    fn new(limit: u32) -> Self {
        Self { offsets: HashMap::new(), bytes: 0, limit }
    }

    /// The offset of a variable that was added.
    pub(super) fn offset(&self, name: &str) -> Option<u32> {
        self.offsets.get(name).copied()
    }

    /// Adds a variable.
    pub(super) fn add(&mut self, variable: &Variable<'a>) -> Result<u32, String> {
        let bytes = u32::try_from(variable.bytes).ok();
        let offset = self.bytes.checked_next_multiple_of(variable.align);
        let end = offset.zip(bytes).and_then(|(offset, bytes)| offset.checked_add(bytes));
        let (Some(offset), Some(end)) = (offset, end.filter(|end| *end <= self.limit)) else {
            let limit = self.limit;
            return Err(format!("{} does not fit the {limit} bytes of its space", variable.name));
        };
        self.offsets.insert(variable.name, offset);
        self.bytes = end;
        Ok(offset)
    }
}

/// What the body of a kernel comes to.
pub(super) struct Parsed {
    pub(super) code: Code,
    pub(super) shared_bytes: u32,
    /// Where the dynamic shared memory begins.
    pub(super) dynamic_shared_offset: u32,
    pub(super) local_bytes: u32,
    pub(super) num_registers: u32,
}

impl<'a, 'm> Body<'a, 'm> {
    /// Parses what stands between the braces of a kernel, and the closing one.
    pub(super) fn parse(
        cursor: &mut Cursor<'a, '_>,
        module: &'m ModuleScope<'a>,
        params: HashMap<&'a str, u32>,
    ) -> Result<Parsed, ParseError> {
        let mut body = Self {
            module,
            scopes: vec![Scope::default()],
            open: vec![0],
            counts: RegisterCounts::default(),
            constants: HashMap::new(),
            instructions: Vec::new(),
            touched: Vec::new(),
            read: Vec::new(),
            written: Vec::new(),
            guard: None,
            line: cursor.line(),
            targets: Vec::new(),
            params,
            shared: Layout::new(MAX_SHARED_BYTES),
            local: Layout::new(MAX_LOCAL_BYTES),
        };
        while !body.open.is_empty() {
            body.item(cursor)?;
        }
        body.finish()
    }

    /// One brace, label, declaration or instruction.
    fn item(&mut self, cursor: &mut Cursor<'a, '_>) -> Result<(), ParseError> {
        self.line = cursor.line();
        let token = cursor.peek(0);
        match token.kind {
            TokenKind::Punct(b'{') => {
                cursor.next();
                self.scopes.push(Scope { parent: self.open.last().copied(), ..Scope::default() });
                self.open.push(self.scopes.len() - 1);
            }
            TokenKind::Punct(b'}') => {
                cursor.next();
                self.open.pop();
            }
            TokenKind::Punct(b';') => {
                cursor.next();
            }
            TokenKind::Word if token.text.starts_with('.') => self.directive(cursor)?,
            TokenKind::Word if cursor.peek(1).kind == TokenKind::Punct(b':') => {
                self.label_definition(cursor)?;
            }
            _ => {
                let mut statement = Statement::parse(cursor)?;
                let message = match self.instruction(&mut statement) {
                    Ok(()) => return Ok(()),
                    Err(message) => format!("{}: {message}", statement.opcode),
                };
                return Err(ParseError { line: statement.line, message });
            }
        }
        Ok(())
    }

    fn directive(&mut self, cursor: &mut Cursor<'a, '_>) -> Result<(), ParseError> {
        let name = cursor.word("a directive")?;
        match name {
            ".reg" => {
                let ty = cursor.word("a type")?;
                self.declare_registers(cursor, ty)
            }
            // `.reg.b16`
            _ if name.starts_with(".reg.") => self.declare_registers(cursor, &name[".reg".len()..]),
            ".shared" | ".local" => {
                let variable = Variable::parse(cursor)?;
                let layout = if name == ".local" { &mut self.local } else { &mut self.shared };
                layout.add(&variable).or_else(|message| cursor.fail(message))?;
                cursor.punct(b';')
            }
            ".pragma" | ".loc" => {
                super::module::hint(cursor, name);
                Ok(())
            }
            _ => cursor.fail(format!("unknown directive {name} in a kernel")),
        }
    }

    /// `.reg .b32 %a, %r<10>;`
    fn declare_registers(
        &mut self,
        cursor: &mut Cursor<'a, '_>,
        word: &str,
    ) -> Result<(), ParseError> {
        let Some(ty) = word.strip_prefix('.').and_then(Type::parse) else {
            return cursor.fail(format!("unknown type {word} of a register"));
        };
        loop {
            let name = cursor.word("a register")?;
            if cursor.take_punct(b'<') {
                let count = cursor.small()?;
                cursor.punct(b'>')?;
                self.scope().ranges.push((name, ty, count));
            } else {
                let register = self.new_register(ty.bits());
                self.scope().registers.insert(name, register);
            }
            if !cursor.take_punct(b',') {
                return cursor.punct(b';');
            }
        }
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        let index = self.open.last().copied().unwrap_or(0);
        &mut self.scopes[index]
    }

    /// A register that no name refers to.
    pub(super) fn new_register(&mut self, bits: u32) -> Register {
        let (kind, count) = match bits {
            1 => (Kind::Predicate, &mut self.counts.predicates),
            64 => (Kind::Double, &mut self.counts.doubles),
            _ => (Kind::Word, &mut self.counts.words),
        };
        *count += 1;
        Register { kind, bits, index: *count - 1 }
    }

    /// The register called `name` in the innermost scope that declares it.
    pub(super) fn register(&mut self, name: &'a str) -> Option<Register> {
        let register = self.find_register(name);
        self.read.extend(register.filter(|register| register.kind != Kind::Predicate));
        register
    }

    /// The same of a register to write.
    pub(super) fn register_to_write(&mut self, name: &'a str) -> Option<Register> {
        let register = self.find_register(name);
        self.written.extend(register.filter(|register| register.kind != Kind::Predicate));
        register
    }

    fn find_register(&mut self, name: &'a str) -> Option<Register> {
        for at in (0..self.open.len()).rev() {
            let scope = self.open[at];
            if let Some(register) = self.scopes[scope].registers.get(name) {
                return Some(*register);
            }
            let ranges = &self.scopes[scope].ranges;
            if let Some(&(_, ty, _)) = ranges.iter().find(|range| in_range(name, range)) {
                let register = self.new_register(ty.bits());
                self.scopes[scope].registers.insert(name, register);
                return Some(register);
            }
        }
        None
    }

    /// `name:`, or `name: .branchtargets a, b;`
    fn label_definition(&mut self, cursor: &mut Cursor<'a, '_>) -> Result<(), ParseError> {
        let name = cursor.word("a label")?;
        cursor.punct(b':')?;
        if !cursor.take_word(".branchtargets") {
            let at = self.instructions.len() as u32;
            return match self.scope().labels.insert(name, at) {
                None => Ok(()),
                Some(_) => cursor.fail(format!("the label {name} is defined twice")),
            };
        }
        let mut labels = vec![cursor.word("a label")?];
        while cursor.take_punct(b',') {
            labels.push(cursor.word("a label")?);
        }
        self.scope().tables.insert(name, labels);
        cursor.punct(b';')
    }

    /// The labels of a `.branchtargets`.
    pub(super) fn branch_table(&self, name: &str) -> Option<Vec<&'a str>> {
        self.open.iter().rev().find_map(|&scope| self.scopes[scope].tables.get(name)).cloned()
    }

    /// A reference to a label, which may follow later: what a branch stores until the end.
    pub(super) fn target(&mut self, label: &'a str) -> u32 {
        let scope = self.open.last().copied().unwrap_or(0);
        self.targets.push((label, scope, self.line));
        self.targets.len() as u32 - 1
    }

    fn instruction(&mut self, statement: &mut Statement<'a>) -> Result<(), String> {
        let decode = super::decoder(statement.opcode).ok_or("unknown instruction")?;
        let first = self.instructions.len();
        self.guard = match statement.guard {
            None => None,
            Some(guard) => {
                let predicate = self.register(guard.predicate).and_then(Register::slot);
                let predicate =
                    predicate.ok_or_else(|| format!("{} is no predicate", guard.predicate))?;
                Some(Guard { predicate, negated: guard.negated })
            }
        };
        let op = decode(self, statement)?;
        statement.modifiers.finish()?;
        self.emit(op);
        self.touched.resize_with(self.instructions.len(), Touched::default);
        self.touched[first] = Touched {
            reads: std::mem::take(&mut self.read).into(),
            writes: std::mem::take(&mut self.written).into(),
            renames: statement.opcode == "mov",
        };
        Ok(())
    }

    /// Adds an instruction with the guard and line of the statement being decoded.
    pub(super) fn emit(&mut self, op: Op) {
        self.instructions.push(Instruction { op, guard: self.guard, line: self.line });
    }

    fn finish(mut self) -> Result<Parsed, ParseError> {
        self.guard = None;
        self.emit(Op::Exit);
        self.touched.resize_with(self.instructions.len(), Touched::default);
        let targets: Vec<u32> =
            self.targets.iter().map(|t| self.resolve(*t)).collect::<Result<_, _>>()?;
        for instruction in &mut self.instructions {
            match &mut instruction.op {
                Op::Branch(target) => *target = targets[*target as usize],
                Op::BranchIndexed(branch) => {
                    for target in &mut branch.targets {
                        *target = targets[*target as usize];
                    }
                }
                _ => {}
            }
        }
        let dynamic_shared_offset = self.shared.bytes.next_multiple_of(self.module.dynamic_align);
        let constants = self.constants.into_iter().map(|((_, constant), register)| {
            let constant = match constant {
                Constant::DynamicShared(offset) => {
                    Constant::Value((i64::from(dynamic_shared_offset) + offset) as u64)
                }
                constant => constant,
            };
            (register, constant)
        });
        let mut constants: Vec<_> = constants.collect();
        constants.sort_by_key(|(register, _)| (register.bits, register.index));
        let counts = self.counts;
        let num_registers =
            counts.words + counts.doubles + counts.predicates - constants.len() as u32;
        Ok(Parsed {
            code: Code {
                has_bulk_copies: self.instructions.iter().any(|i| i.op.is_bulk_copy()),
                has_products: self.instructions.iter().any(|i| matches!(i.op, Op::StartProduct(_))),
                instructions: self.instructions,
                touched: self.touched,
                counts,
                constants,
            },
            shared_bytes: self.shared.bytes,
            dynamic_shared_offset,
            local_bytes: self.local.bytes,
            num_registers,
        })
    }

    /// The instruction that a label stands before.
    fn resolve(&self, (name, scope, line): (&str, usize, u32)) -> Result<u32, ParseError> {
        let mut at = Some(scope);
        while let Some(scope) = at {
            if let Some(&target) = self.scopes[scope].labels.get(name) {
                return Ok(target);
            }
            at = self.scopes[scope].parent;
        }
        Err(ParseError { line, message: format!("unknown label {name}") })
    }
}

/// Whether `name` is one of the registers that `.reg` declared as a range.
fn in_range(name: &str, (prefix, _, count): &(&str, Type, u32)) -> bool {
    let number = name.strip_prefix(prefix);
    number.and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number < *count)
}
