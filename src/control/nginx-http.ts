/**
 * The configuration of web applications behind NGINX's `http` module: each request is asked about at a gateway (`auth_request`), which says by a
 * transaction token on whose behalf it is. What a client sends in that token's place goes no further.
 */
import { RingfenceError } from '../base/errors.ts'

/** By which other proxies say who somebody is, or where: an application may believe one of them, and here nobody else sets it. */
export const foreignHeaders = [
  'Forwarded',
  'Remote-User',
  'X-Remote-User',
  'X-Forwarded-User',
  'X-Forwarded-Email',
  'X-Forwarded-Groups',
  'X-Forwarded-Preferred-Username',
  'X-Forwarded-Access-Token',
  'X-Forwarded-Client-Cert',
  'X-Auth-Request-User',
  'X-Auth-Request-Email',
  'X-Auth-Request-Groups',
  'X-Auth-Request-Access-Token',
  'X-Client-Cert',
  'X-SSL-Client-Cert',
  'X-SSL-Client-DN',
  'X-SSL-Client-Verify',
  'SSL-Client-Cert',
  'X-Goog-Authenticated-User-Email',
  'X-Goog-IAP-JWT-Assertion',
  'X-Amzn-Oidc-Identity',
  'X-Amzn-Oidc-Data',
  'X-Pomerium-Jwt-Assertion',
  'Teleport-Jwt-Assertion',
  'Cf-Access-Jwt-Assertion',
  'X-Real-IP',
] as const

export interface NginxApplication {
  /** As the gateway's configuration has it. */
  readonly name: string
  readonly serverName: string
  /** `address:port` of the application. */
  readonly upstream: string
}

export interface NginxHttpOptions {
  /** `address:port` where browsers connect. */
  readonly listen: readonly string[]
  /** Without them NGINX listens without TLS, which is for tries on loopback only. */
  readonly certificate: { readonly file: string; readonly keyFile: string } | undefined
  /** `address:port` of the gateway's `http`. */
  readonly gateway: string
  readonly applications: readonly NginxApplication[]
  /** For bodies that are too long for memory; NGINX's own folder, which is the system's, where it is left out. */
  readonly bodiesFolder?: string | undefined
}

/** @throws RingfenceError USAGE for a value that does not fit */
export function nginxHttp({ listen, certificate, gateway, applications, bodiesFolder }: NginxHttpOptions): string {
  if (applications.length === 0) throw new RingfenceError('USAGE', 'no application to put behind NGINX')
  if (listen.length === 0) throw new RingfenceError('USAGE', 'no address where browsers connect')
  if (certificate === undefined && !listen.every((one) => /^(127\.[\d.]+|\[::1\]):/.test(one))) {
    throw new RingfenceError('USAGE', 'browsers keep the cookie of a log-in over TLS only', {
      hint: '--http-certificate and --http-key; without them listen on loopback',
    })
  }
  const endpoints = listen.map((one) => `        listen ${endpoint(one)}${certificate === undefined ? '' : ' ssl'};`)
  const tls =
    certificate === undefined
      ? ''
      : `        ssl_certificate ${quoted(certificate.file)};
        ssl_certificate_key ${quoted(certificate.keyFile)};
        ssl_protocols TLSv1.2 TLSv1.3;
`
  return `
http {
    server_tokens off;
${bodiesFolder === undefined ? '' : bodies(bodiesFolder)}    # Addresses of log-ins have codes in them.
    access_log off;
    # A bearer token may have 64 KiB, a transaction token 16.
    large_client_header_buffers 4 80k;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    proxy_busy_buffers_size 64k;
    proxy_http_version 1.1;

    # The session of a browser is between it and the gateway: applications see their own cookies only.
    map $http_cookie $ringfence_cookie_1 {
        default $http_cookie;
        "~^(?<before_1>(?:.*;\\s*)?)__Host-ringfence=[^;]*(?:;\\s*)?(?<after_1>.*)$" "$before_1$after_1";
    }
    map $ringfence_cookie_1 $ringfence_cookie {
        default $ringfence_cookie_1;
        "~^(?<before_2>(?:.*;\\s*)?)__Host-ringfence-log-in=[^;]*(?:;\\s*)?(?<after_2>.*)$" "$before_2$after_2";
    }

    upstream ringfence_http {
        server ${endpoint(gateway)};
        keepalive 16;
    }
${applications.map((one) => server(one, endpoints.join('\n'), tls)).join('')}}
`
}

function server({ name, serverName, upstream }: NginxApplication, endpoints: string, tls: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) throw new RingfenceError('USAGE', `not an application: ${name}`)
  if (!/^[A-Za-z0-9.-]{1,253}$/.test(serverName)) throw new RingfenceError('USAGE', `not a host: ${serverName}`)
  const toGateway = `proxy_set_header X-Ringfence-Application ${name};
            proxy_set_header X-Ringfence-Client $remote_addr;
            proxy_set_header Connection "";
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";`
  return `
    server {
${endpoints}
        server_name ${serverName};
${tls}
        location / {
            auth_request /.ringfence-authenticate;
            auth_request_set $ringfence_txn $upstream_http_txn_token;
            error_page 401 = @ringfence_log_in;

            # In the place of whatever the client sent.
            proxy_set_header Txn-Token $ringfence_txn;
            proxy_set_header Authorization "";
            proxy_set_header Cookie $ringfence_cookie;
            proxy_set_header X-Ringfence-Application "";
            proxy_set_header X-Ringfence-Client "";
            proxy_set_header X-Ringfence-Return "";
${foreignHeaders.map((header) => `            proxy_set_header ${header} "";`).join('\n')}
            # The one that it has, whatever the client calls it.
            proxy_set_header Host ${serverName};
            proxy_set_header X-Forwarded-Host ${serverName};
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Connection "";
            proxy_pass http://${endpoint(upstream)};
        }

        location = /.ringfence-authenticate {
            internal;
            ${toGateway}
            proxy_set_header X-Ringfence-Return "";
            proxy_pass http://ringfence_http/authenticate;
        }

        location @ringfence_log_in {
            ${toGateway}
            proxy_set_header X-Ringfence-Return $request_uri;
            rewrite ^ /.ringfence/log-in break;
            proxy_pass http://ringfence_http;
        }

        location /.ringfence/ {
            ${toGateway}
            proxy_set_header X-Ringfence-Return "";
            proxy_pass http://ringfence_http;
        }
    }
`
}

/** NGINX makes all of these folders when it starts, whether it uses them or not. */
function bodies(folder: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return kinds.map((kind) => `    ${kind}_temp_path ${quoted(`${folder}/${kind}`)};\n`).join('')
}

function endpoint(text: string): string {
  const [, port = ''] = /^(?:[A-Za-z0-9._-]+|\[[\da-fA-F:]+\]):(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) < 1 || Number(port) > 65_535)
    throw new RingfenceError('USAGE', `not an address for NGINX: ${text}`)
  return text
}

/** A path as one NGINX word. */
function quoted(path: string): string {
  if (/["$\\\x00-\x1f]/.test(path)) throw new RingfenceError('USAGE', `not a path for NGINX: ${JSON.stringify(path)}`)
  return `"${path}"`
}
