import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { findNginx, tryConfig } from '../cli/commands/nginx.ts'
import { type NginxOptions, nginxConfig } from './nginx-config.ts'

const options: NginxOptions = {
  listen: [
    { address: '127.0.0.1', port: 19_042 },
    { address: '::1', port: 19_042 },
  ],
  gateways: [
    { address: '127.0.0.1', port: 19_142 },
    { address: '127.0.0.1', port: 19_143 },
  ],
  pidFile: '/tmp/nginx.pid',
  errorLog: 'stderr',
  accessLog: 'off',
  workers: 'auto',
}

describe('nginxConfig', () => {
  it('passes TLS through with a PROXY header and a timeout above the drivers’ heartbeat', () => {
    const text = nginxConfig(options)
    for (const line of [
      'ssl_preread on;',
      'proxy_protocol on;',
      'proxy_timeout 1h;',
      'proxy_connect_timeout 2s;',
      'limit_conn addresses 4096;',
      'listen 127.0.0.1:19042;',
      'listen [::1]:19042;',
      'server 127.0.0.1:19143 max_fails=3 fail_timeout=2s;',
    ]) {
      assert.ok(text.includes(line), line)
    }
    assert.ok(!text.includes('load_module'))
    assert.ok(
      nginxConfig({ ...options, streamModule: '/m/ngx_stream_module.so' }).includes(
        'load_module "/m/ngx_stream_module.so";',
      ),
    )
  })

  it('refuses values that would say something else to NGINX', () => {
    assert.throws(() => nginxConfig({ ...options, gateways: [] }), /no gateway/)
    assert.throws(() => nginxConfig({ ...options, listen: [] }), /no address/)
    assert.throws(
      () => nginxConfig({ ...options, gateways: [{ address: '1.2.3.4; include /etc/passwd', port: 1 }] }),
      /not an address/,
    )
    assert.throws(() => nginxConfig({ ...options, listen: [{ address: '127.0.0.1', port: 0 }] }), /not an address/)
    assert.throws(() => nginxConfig({ ...options, pidFile: '/tmp/"; daemon off; #' }), /not a path/)
  })

  const http = {
    listen: ['127.0.0.1:18080'],
    certificate: undefined,
    gateway: '127.0.0.1:9180',
    applications: [
      { name: 'shop', serverName: 'shop.example.com', upstream: '127.0.0.1:3000' },
      { name: 'wiki', serverName: 'wiki.example.com', upstream: '[::1]:3001' },
    ],
  }

  it('puts web applications behind a question to the gateway, and passes on nothing of what says who is there', () => {
    const text = nginxConfig({ ...options, http })
    assert.ok(text.startsWith(nginxConfig(options).trimEnd()))
    for (const line of [
      'auth_request /.ringfence-authenticate;',
      'proxy_set_header Txn-Token $ringfence_txn;',
      'proxy_set_header Authorization "";',
      'proxy_set_header Cookie $ringfence_cookie;',
      'proxy_set_header X-Ringfence-Application shop;',
      'proxy_set_header X-Ringfence-Client $remote_addr;',
      'proxy_set_header X-Ringfence-Client "";',
      'proxy_set_header Host wiki.example.com;',
      'proxy_set_header X-Forwarded-User "";',
      'server_name wiki.example.com;',
      'listen 127.0.0.1:18080;',
    ])
      assert.ok(text.includes(line), line)
    const certificate = { file: '/etc/shop.pem', keyFile: '/etc/shop.key' }
    const public443 = nginxConfig({ ...options, http: { ...http, listen: ['0.0.0.0:443'], certificate } })
    assert.ok(
      public443.includes('listen 0.0.0.0:443 ssl;') && public443.includes('ssl_certificate_key "/etc/shop.key";'),
    )
  })

  it('refuses what would say something else to NGINX, and cookies without TLS', () => {
    const [shop] = http.applications as [(typeof http.applications)[0]]
    for (const [change, words] of [
      [{ listen: ['0.0.0.0:80'] }, /over TLS only/],
      [{ listen: ['127.0.0.1:1; evil'] }, /not an address/],
      [{ listen: [] }, /no address/],
      [{ gateway: 'x' }, /not an address/],
      [{ applications: [] }, /no application/],
      [{ applications: [{ ...shop, name: 'a;b' }] }, /not an application/],
      [{ applications: [{ ...shop, serverName: 'a b' }] }, /not a host/],
      [{ applications: [{ ...shop, upstream: '127.0.0.1:99999' }] }, /not an address/],
      [{ certificate: { file: '/a"; x', keyFile: '/b' } }, /not a path/],
      [{ bodiesFolder: '/a"; x' }, /not a path/],
    ] as const)
      assert.throws(() => nginxConfig({ ...options, http: { ...http, ...change } }), words)
  })

  const nginx = findNginx('nginx')
  const skip = nginx === undefined && process.env.CI !== 'true' ? 'nginx is not on this host' : false
  it('is accepted by nginx -t, and a wrong one is not', { skip }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'rf-nginx-'))
    try {
      const text = nginxConfig({ ...options, pidFile: join(folder, 'nginx.pid'), streamModule: nginx?.streamModule })
      tryConfig('nginx', text)
      const pidFile = join(folder, 'nginx.pid')
      tryConfig('nginx', nginxConfig({ ...options, pidFile, http, streamModule: nginx?.streamModule }))
      // In folders of its own NGINX makes nothing elsewhere, so it need not be root.
      const own = { ...http, bodiesFolder: folder }
      tryConfig('nginx', nginxConfig({ ...options, pidFile, http: own, streamModule: nginx?.streamModule }))
      for (const kind of ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
        assert.ok(existsSync(join(folder, kind)), kind)
      assert.throws(() => tryConfig('nginx', text.replace('ssl_preread on', 'ssl_preread maybe')), /nginx refuses/)
      assert.throws(() => tryConfig('/nowhere/nginx', text), /cannot be run/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
