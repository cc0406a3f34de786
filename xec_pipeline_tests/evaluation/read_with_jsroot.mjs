// Print all trees of a ROOT file as JSON: node read_with_jsroot.mjs <jsroot folder> <file>
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, path] = process.argv.slice(2);
const module = (name) => import(pathToFileURL(`${folder}/modules/${name}.mjs`).href);
const { openFile } = await module('io');
const { TSelector, treeProcess } = await module('tree');

async function readTree(tree) {
  const columns = Object.fromEntries(tree.fBranches.arr.map((branch) => [branch.fName, []]));
  const selector = new TSelector();
  Object.keys(columns).forEach((name) => selector.addBranch(name));
  selector.Process = function () {
    for (const [name, values] of Object.entries(columns)) {
      const value = this.tgtobj[name];
      values.push(value?.BYTES_PER_ELEMENT ? Array.from(value) : value);
    }
  };
  selector.Terminate = () => {};
  await treeProcess(tree, selector);
  return { type: tree._typename, entries: tree.fEntries, columns };
}

const bytes = readFileSync(path);
const file = await openFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const trees = {};
for (const key of file.fKeys.filter((item) => item.fClassName === 'TTree'))
  trees[key.fName] = await readTree(await file.readObject(key.fName));
process.stdout.write(JSON.stringify(trees));
