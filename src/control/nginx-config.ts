/**
 * The configuration of the public door: NGINX's `stream` module passes TLS through unopened, so that the gateway sees the
 * client's own certificate, and says in a PROXY protocol header what the client's address was.
 */
import { RingfenceError } from '../base/errors.ts'
import { type NginxHttpOptions, nginxHttp } from './nginx-http.ts'

export interface NginxAddress {
  readonly address: string
  readonly port: number
}

export interface NginxOptions {
  /** Where clients connect. */
  readonly listen: readonly NginxAddress[]
  /** The gateways' listeners that expect a PROXY header. */
  readonly gateways: readonly NginxAddress[]
  readonly pidFile: string
  readonly errorLog: string
  /** A path, or `off`. */
  readonly accessLog: string
  /** A number, or `auto` for one per core. */
  readonly workers: number | 'auto'
  /** Path of ngx_stream_module.so where `stream` is a dynamic module (Debian). */
  readonly streamModule?: string | undefined
  /** Web applications (`nginx-http.ts`); none where it is left out. */
  readonly http?: NginxHttpOptions | undefined
}

/** @throws RingfenceError USAGE when there is nothing to listen at or to pass to, or a value does not fit */
export function nginxConfig(options: NginxOptions): string {
  const { listen, gateways, workers, streamModule } = options
  if (listen.length === 0) throw new RingfenceError('USAGE', 'no address to listen at')
  if (gateways.length === 0) {
    throw new RingfenceError('USAGE', 'no gateway has a listener with the PROXY protocol', {
      hint: 'start a gateway first, or name it with --gateway address:port',
    })
  }
  const load = streamModule === undefined ? '' : `load_module ${quoted(streamModule)};\n`
  return `# Made by \`ringfence nginx config\`; do not edit, make it again.
${load}worker_processes ${workers};
# Two for each session.
worker_rlimit_nofile 32768;
pid ${quoted(options.pidFile)};
error_log ${quoted(options.errorLog)} notice;

events {
    worker_connections 16384;
}

stream {
    log_format mesh '$time_iso8601 $remote_addr $remote_port sni="$ssl_preread_server_name" tls=$ssl_preread_protocol '
                    'to=$upstream_addr status=$status in=$bytes_received out=$bytes_sent s=$session_time';
    access_log ${options.accessLog === 'off' ? 'off' : `${quoted(options.accessLog)} mesh`};

    # One address has no more than half of what a worker can hold; gateways count connections more finely (docs/limits.md).
    limit_conn_zone $binary_remote_addr zone=addresses:10m;
    limit_conn addresses 4096;
    limit_conn_log_level warn;

    upstream ringfence_gateways {
        least_conn;
${gateways.map((gateway) => `        server ${endpoint(gateway)} max_fails=3 fail_timeout=2s;`).join('\n')}
    }

    server {
${listen.map((address) => `        listen ${endpoint(address)};`).join('\n')}

        # TLS is not ended here: only the ClientHello is read, so session tickets, certificates and keys are the gateway's.
        ssl_preread on;
        preread_timeout 10s;

        proxy_pass ringfence_gateways;
        # The client's own address; gateways take this header from the addresses that they were configured with, and only there.
        proxy_protocol on;

        proxy_connect_timeout 2s;
        proxy_next_upstream on;
        proxy_next_upstream_tries 3;

        # Drivers send a heartbeat every 30 s on a quiet connection. The default of 10 min would do while they do, but drivers
        # with a longer or no heartbeat would lose connections without a word; an hour is above all of theirs.
        proxy_timeout 1h;
        proxy_socket_keepalive on;
        tcp_nodelay on;
    }
}
${options.http === undefined ? '' : nginxHttp(options.http)}`
}

/** IPv6 in brackets. */
function endpoint({ address, port }: NginxAddress): string {
  if (!/^[A-Za-z0-9.:_-]+$/.test(address) || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RingfenceError('USAGE', `not an address for NGINX: ${address}:${port}`)
  }
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** A path as one NGINX word. Variables and quotes have no place in one. */
function quoted(path: string): string {
  if (/["$\\\x00-\x1f]/.test(path)) throw new RingfenceError('USAGE', `not a path for NGINX: ${JSON.stringify(path)}`)
  return `"${path}"`
}
