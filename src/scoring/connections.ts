import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface ConnectionLimits {
  /** Connections at a time. */
  connections: number;
  /** Bytes of bodies under way, of all connections together. */
  bodyBytes: number;
  /** Seconds to send a request, or to take an answer; every MiB that moves gives a second more. */
  seconds: number;
}

const BYTES_A_SECOND = 1 << 20;

interface Connection {
  /** When it began to send, or to take the answer, and what it had moved then. */
  since: number;
  moved: number;
  /** A request is whole and has no answer yet: the model is slow, not the client. */
  answering: boolean;
  /** An answer is on its way to a client that has to read it. */
  taking: boolean;
  /** Bytes held of a body that is not whole. */
  held: number;
  turnedAway: boolean;
}

/**
 * Holds back those who take a server's room without using it: connections that say nothing, send or read by drops, or send
 * more than fits. Where there is no room the one that has been sending longest goes, so that a request which comes in one
 * piece is always heard. Node's own timeouts would also end those whose request lay unread while the model was at work.
 */
export class Connections {
  private readonly open = new Map<Socket, Connection>();
  private held = 0;

  constructor(
    server: Server,
    private readonly limits: ConnectionLimits,
  ) {
    // Its own timers, all: see above.
    server.headersTimeout = 0;
    server.requestTimeout = 0;
    server.keepAliveTimeout = 0;
    server.timeout = 0;
    server.on('connection', (socket: Socket) => this.admit(socket));
    // After a pause the network is heard first (the poll phase), then who is late is looked for (the check phase).
    const timer = setInterval(() => setImmediate(() => this.endLate()), 1000);
    timer.unref();
    server.once('close', () => clearInterval(timer));
  }

  /** Reads a body. @throws what `tooLarge` makes when it is larger than `limit`; the rest stays unread */
  async body(request: IncomingMessage, limit: number, tooLarge: () => Error): Promise<Buffer> {
    if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();
    const connection = this.open.get(request.socket);
    const parts: Buffer[] = [];
    let size = 0;
    try {
      return await new Promise((done, failed) => {
        request.on('data', (part: Buffer) => {
          size += part.length;
          if (size > limit) return failed(tooLarge());
          parts.push(part);
          this.hold(connection, part.length);
        });
        request.once('end', () => done(Buffer.concat(parts)));
        for (const gone of ['error', 'close'] as const)
          request.once(gone, () => failed(new Error('cut off')));
      });
    } finally {
      request.removeAllListeners('data');
      this.hold(connection, -(connection?.held ?? 0));
    }
  }

  /** A request has come; when it has its answer the client's time begins anew. */
  begun({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.open.get(socket);
    if (connection) response.once('finish', () => restart(connection, socket, { taking: false }));
  }

  /**
   * A request is whole; until its answer begins nothing is expected of the client.
   *
   * @returns false, and nothing is changed, while the connection has another one under way
   */
  working({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.open.get(socket);
    if (!connection) return true; // gone: so is the response
    if (connection.answering) return false;
    connection.answering = true;
    response.once('close', () => {
      connection.answering = false;
    });
    return true;
  }

  /** The answer is on its way: the client has to read it now. */
  answering({ socket }: IncomingMessage): void {
    const connection = this.open.get(socket);
    if (connection) restart(connection, socket, { taking: true });
  }

  private admit(socket: Socket): void {
    const connection = {
      since: now(),
      moved: 0,
      answering: false,
      taking: false,
      held: 0,
      turnedAway: false,
    };
    this.open.set(socket, connection);
    socket.once('close', () => {
      this.hold(connection, -connection.held);
      this.open.delete(socket);
    });
    if (this.open.size > this.limits.connections) this.turnAway(this.longest(() => true) ?? socket, 503);
  }

  private hold(connection: Connection | undefined, bytes: number): void {
    if (!connection) return;
    connection.held += bytes;
    this.held += bytes;
    if (bytes > 0 && this.held > this.limits.bodyBytes) {
      const socket = this.longest(({ held }) => held > 0);
      if (socket) this.turnAway(socket, 503);
    }
  }

  /** Of those that are sending, the one that began first. */
  private longest(which: (connection: Connection) => boolean): Socket | undefined {
    let found: Socket | undefined;
    let since = Number.POSITIVE_INFINITY;
    for (const [socket, connection] of this.open) {
      if (connection.answering || connection.turnedAway || !which(connection)) continue;
      if (connection.since < since) [found, since] = [socket, connection.since];
    }
    return found;
  }

  private endLate(): void {
    for (const [socket, connection] of this.open) {
      const { since, moved, answering, taking, turnedAway } = connection;
      const bytes = movedBy(socket) - moved;
      const late = now() - since > this.limits.seconds + bytes / BYTES_A_SECOND;
      if (turnedAway || (late && taking)) socket.destroy();
      else if (late && !answering) this.turnAway(socket, 408);
    }
  }

  private turnAway(socket: Socket, status: 408 | 503): void {
    const connection = this.open.get(socket);
    if (!connection) return;
    connection.turnedAway = true;
    this.hold(connection, -connection.held);
    const reason = status === 408 ? 'Request Timeout' : 'Service Unavailable\r\nRetry-After: 1';
    socket.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () =>
      socket.destroy(),
    );
    // Whoever does not take these bytes is cut off at the next look.
  }
}

const now = (): number => performance.now() / 1000;
const movedBy = (socket: Socket): number => socket.bytesRead + socket.bytesWritten;

function restart(connection: Connection, socket: Socket, { taking }: { taking: boolean }): void {
  Object.assign(connection, { since: now(), moved: movedBy(socket), taking });
}
