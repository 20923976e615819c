//! COPY FROM STDIN and COPY TO STDOUT. Data goes through piece by piece; nothing is collected here.

use quorate_sql::session::{CopyIn, CopyOut};

use crate::conversation::{Conversation, Trouble};
use crate::io::Close;
use crate::message::{self, violation};
use crate::reply;

impl Conversation {
    /// Takes data until CopyDone or CopyFail.
    ///
    /// After an error the client may still send data that it had under way; the session's loop ignores it.
    pub(crate) async fn copy_in(&mut self, mut copy: CopyIn) -> Result<(), Trouble> {
        reply::copy_in(copy.format(), copy.columns(), &mut self.io.output);
        self.io.flush_wanted = true;
        loop {
            let frame = self.io.next().await?;
            match frame.kind {
                b'd' => self.io.drive(copy.data(&mut self.session, &frame.body)).await?,
                b'c' => break,
                b'f' => {
                    let reason = message::decode_text(&frame.body).unwrap_or("the client's reason cannot be read");
                    return Err(self.io.drive(copy.fail(&mut self.session, reason)).await.into());
                }
                // The protocol wants both ignored here.
                b'H' | b'S' => {}
                b'X' => return Err(Close::Gone.into()),
                kind => {
                    let error = violation(format!("unexpected message type 0x{kind:02X} during COPY from stdin"));
                    return Err(Close::Fatal(error).into());
                }
            }
        }
        let tag = self.io.drive(copy.finish(&mut self.session)).await?;
        self.complete(&tag);
        Ok(())
    }

    /// Sends data to its end, each row in a message of its own, as the protocol promises.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<(), Trouble> {
        reply::copy_out(copy.format(), copy.columns(), &mut self.io.output);
        while let Some(lines) = self.io.drive(copy.next(&mut self.session)).await? {
            for line in lines.iter() {
                reply::copy_data(line, &mut self.io.output)?;
            }
            self.io.flush_if_large().await?;
        }
        reply::copy_done(&mut self.io.output);
        self.complete(&copy.tag());
        Ok(())
    }
}
