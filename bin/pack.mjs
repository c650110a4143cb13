/**
 * Makes one file of the program's code without its types, for `role.mjs`:
 *
 *     node pack.mjs <folder of the sources> <file>
 *
 *     <length of the list, in 12 characters>{"file:///…/a.ts":[0,1200],"file:///…/b.ts":[1200,310]}<the code of a><the code of b>
 *
 * Each character is one byte, for V8 keeps a text with one wider character in twice the memory. What is wider is written `\uXXXX`, which means the
 * same in strings, templates and patterns. Lines stay where they are.
 */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** The stripper puts such ones where wide characters stood in a type or a comment. */
const wideSpace = /(?![\0-\xff])\s/u

/** From the root. zod comes with its messages in some sixty languages, which are a megabyte of each process; the program has English ones. */
const instead = { 'node_modules/zod/v4/locales/index.js': "export { default as en } from './en.js'\n" }

const [folder, file] = process.argv.slice(2)
const places = {}
const pieces = []
let at = 0
for (const name of readdirSync(folder, { recursive: true }).sort()) {
  if (!name.endsWith('.ts') || /\.(test|fuzz|fixture)\.ts$/.test(name)) continue
  const path = join(folder, name)
  const source = readFileSync(path, 'utf8')
  if (wideSpace.test(source)) throw new Error(`${name} has a space that is wider than a byte: write it as \\uXXXX`)
  add(path, narrow(stripTypeScriptTypes(source)))
}
for (const [name, text] of Object.entries(instead)) add(join(folder, '..', name), text)
// Whole or not at all: several proxies of a host may start at once.
const own = `${file}.${process.pid}`
const list = JSON.stringify(places)
writeFileSync(own, Buffer.concat([Buffer.from(String(list.length).padEnd(12) + list), ...pieces]), { mode: 0o600 })
renameSync(own, file)

function add(path, text) {
  const piece = Buffer.from(text, 'latin1')
  places[pathToFileURL(path).href] = [at, piece.length]
  pieces.push(piece)
  at += piece.length
}

function narrow(text) {
  const wide = (unit) => (wideSpace.test(unit) ? ' ' : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return text.replace(/[^\0-\xff]/g, wide).replace(/[ \t]+$/gm, '')
}
