/**
 * Makes the file of the program's code without its types (`code.mjs`), for `role.mjs`. By `npm run build`, else at the first start.
 *
 * Each character is one byte, for V8 keeps a text with one wider character in twice the memory. What is wider is written `\uXXXX`, which means the
 * same in strings, templates and patterns. Lines stay where they are.
 */
import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { codeFile, codeFolder, keyOf, lengthChars } from './code.mjs'

/** The stripper puts such ones where wide characters stood in a type or a comment. */
const wideSpace = /(?![\0-\xff])\s/u

/** zod comes with its messages in some sixty languages, which are a megabyte of each process; the program has English ones. */
const instead = { 'node_modules/zod/v4/locales/index.js': "export { default as en } from './en.js'\n" }

/** A proxy that runs reads its file again when it starts a thread or a worker. */
const keptMs = 24 * 3_600_000

const places = {}
const pieces = []
let at = 0
try {
  // What is stripped is what was hashed: a source that changes meanwhile has another key.
  const key = keyOf(createHash('sha256'), (name, bytes) => {
    const source = bytes.toString()
    if (wideSpace.test(source)) throw new Error(`${name} has a space that is wider than a byte: write it as \\uXXXX`)
    add(name, narrow(stripTypeScriptTypes(source)))
  })
  for (const [name, text] of Object.entries(instead)) add(name, text)
  const file = codeFile(key)
  mkdirSync(codeFolder, { recursive: true })
  writeWhole(file, wholeFile())
  removeOld(file)
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

function add(name, text) {
  const piece = Buffer.from(text, 'latin1')
  places[encodeURI(name)] = [at, piece.length]
  pieces.push(piece)
  at += piece.length
}

function narrow(text) {
  const wide = (unit) => (wideSpace.test(unit) ? ' ' : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return text.replace(/[^\0-\xff]/g, wide).replace(/[ \t]+$/gm, '')
}

function wholeFile() {
  const list = JSON.stringify(places)
  const rest = Buffer.concat([Buffer.from(String(list.length).padEnd(lengthChars) + list), ...pieces])
  return Buffer.concat([Buffer.from(createHash('sha256').update(rest).digest('hex')), rest])
}

/** On disk whole or not at all: several proxies of a host may start at once, and the power may fail. */
function writeWhole(file, bytes) {
  const own = `${file}.${randomBytes(8).toString('hex')}`
  try {
    const fd = openSync(own, 'wx', 0o644)
    try {
      writeFileSync(fd, bytes)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(own, file)
  } finally {
    rmSync(own, { force: true })
  }
}

/** Files of other states of the sources, and what one that was killed has left. */
function removeOld(file) {
  for (const name of readdirSync(codeFolder)) {
    const other = join(codeFolder, name)
    if (other === file || !/^[0-9a-f]{64}\.code(\.[0-9a-f]+)?$/.test(name)) continue
    const found = statSync(other, { throwIfNoEntry: false })
    if (found !== undefined && Date.now() - found.mtimeMs > keptMs) rmSync(other, { force: true })
  }
}
