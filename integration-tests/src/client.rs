//! A blocking client that shows the bytes: it sends what it is told and takes one reply at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::{self, Reply};

/// No reply takes longer unless something is broken; then a test shall fail and not hang.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// The version of the protocol that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection starts with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Both, for tests that must hold in both.
    pub const BOTH: [Self; 2] = [Self::Resp2, Self::Resp3];

    /// The argument of HELLO.
    pub fn number(self) -> &'static str {
        match self {
            Self::Resp2 => "2",
            Self::Resp3 => "3",
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One command as the array of bulk strings that servers expect.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Client {
    /// Connects; fails the test when nobody listens.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?)
    }

    /// Takes a connection that is there.
    ///
    /// # Errors
    /// What the socket says.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects and says HELLO with that version.
    pub fn connect_with(address: SocketAddr, protocol: Protocol) -> Self {
        let mut client = Self::connect(address);
        client.hello(protocol);
        client
    }

    /// Switches to that version of the protocol.
    pub fn hello(&mut self, protocol: Protocol) {
        let reply = self.call(&["HELLO", protocol.number()]);
        assert!(reply.items().is_some(), "HELLO {}: {reply:?}", protocol.number());
    }

    /// Replaces the time after which a missing reply is an error.
    pub fn set_reply_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout over zero is accepted");
    }

    /// The socket, for tests that do what a client would not.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the socket says, as when the other side has closed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one command and does not wait.
    ///
    /// # Errors
    /// What the socket says.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// Takes exactly one reply: its value and its bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side closed first, `InvalidData` for bytes that are no reply, and what the
    /// socket says (a timeout is `WouldBlock`).
    pub fn try_read(&mut self) -> io::Result<(Reply, Vec<u8>)> {
        loop {
            let parsed = reply::parse(&self.buffer);
            let parsed = parsed.map_err(|malformed| io::Error::new(ErrorKind::InvalidData, malformed.0))?;
            if let Some((reply, length)) = parsed {
                let rest = self.buffer.split_off(length);
                return Ok((reply, std::mem::replace(&mut self.buffer, rest)));
            }
            if self.fill()? == 0 {
                let rest = self.buffer.escape_ascii().to_string();
                return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {rest:?}")));
            }
        }
    }

    /// Takes exactly one reply; fails the test when there is none.
    pub fn read(&mut self) -> Reply {
        self.try_read().unwrap_or_else(|error| panic!("no reply: {error}")).0
    }

    /// Sends one command and takes its reply; fails the test when there is none.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.try_call(args).unwrap_or_else(|error| panic!("{}: {error}", shown(args)))
    }

    /// Sends one command and takes its reply.
    ///
    /// # Errors
    /// As [`Client::try_read`].
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        Ok(self.try_read()?.0)
    }

    /// Sends one command and takes the bytes of its reply.
    pub fn call_raw<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        let sent = self.send(args).and_then(|()| self.try_read());
        sent.unwrap_or_else(|error| panic!("{}: {error}", shown(args))).1
    }

    /// Sends one command of plain words, as `"SET a 1"`.
    pub fn say(&mut self, words: &str) -> Reply {
        self.call(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Sends every command of plain words in one write, then takes every reply.
    pub fn pipeline(&mut self, commands: &[&str]) -> Vec<Reply> {
        let encoded: Vec<u8> =
            commands.iter().flat_map(|words| encode(&words.split_whitespace().collect::<Vec<_>>())).collect();
        self.send_raw(&encoded).expect("the server takes a pipeline");
        commands.iter().map(|_| self.read()).collect()
    }

    /// Everything up to the other side's close, as bytes. A reset counts as a close.
    ///
    /// # Errors
    /// `WouldBlock` when it stays open and silent.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => return Ok(std::mem::take(&mut self.buffer)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(std::mem::take(&mut self.buffer));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the other side's orderly end, which must come before anything else.
    ///
    /// # Errors
    /// `InvalidData` with what came instead, `ConnectionReset` for an end that is not orderly, and what the socket says.
    pub fn read_end(&mut self) -> io::Result<()> {
        while self.fill()? > 0 {}
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::InvalidData, self.buffer.escape_ascii().to_string()))
    }

    /// Whether the other side has closed, as pools ask before they use a connection again.
    ///
    /// # Errors
    /// `ConnectionReset` when that was not orderly, and what else the socket says.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Ok(count) => Ok(count == 0 && self.buffer.is_empty()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Everything up to bytes that end so, as bytes.
    ///
    /// # Errors
    /// As [`Client::try_read`].
    pub fn read_to(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        while !self.buffer.ends_with(end) {
            if self.fill()? == 0 {
                let rest = self.buffer.escape_ascii().to_string();
                return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {rest:?}")));
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Says that nothing more will be sent.
    pub fn shut_write(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// How many bytes came: 0 is the close.
    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// A command for a message.
pub fn shown<A: AsRef<[u8]>>(args: &[A]) -> String {
    let arg = |arg: &A| match arg.as_ref() {
        [] => "\"\"".to_owned(),
        bytes if bytes.len() > 100 => {
            format!("{}...({} bytes)", bytes[..40].escape_ascii(), bytes.len())
        }
        bytes => bytes.escape_ascii().to_string(),
    };
    args.iter().map(arg).collect::<Vec<_>>().join(" ")
}
