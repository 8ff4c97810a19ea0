"""How a page looks, light and dark, from a phone to a wide screen, and the little script that it can do without."""

STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f6f7f9;--text:#1c2026;--soft:#5a6472;--rule:#d8dde4;--accent:#0067a8;
--l0:#0072b2;--l1:#d55e00;--l2:#00835f;--l3:#b0558a;--l4:#2b8fc4;--l5:#a87400;--bar:#b8c2ce;--heat:0,114,178}
@media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1d2127;--text:#e7eaee;--soft:#a3adba;--rule:#39404a;
--accent:#6cb8ee;--l0:#56b4e9;--l1:#ff9147;--l2:#3fcf9f;--l3:#e59cc6;--l4:#a5d8f5;--l5:#f0c35e;--bar:#4c5663;
--heat:86,180,233}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--back);color:var(--text);overflow-wrap:anywhere;
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0}h2{font-size:1.15rem;margin:0 0 .6rem}
section{margin:1.6rem 0}p{margin:.4rem 0}a{color:var(--accent)}
.kind{color:var(--soft);margin:0}.lead{font-size:1.15rem;max-width:48rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.9rem;margin:.8rem 0}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:.6rem 0}
.facts div{background:var(--card);border-radius:.5rem;padding:.5rem .7rem}
dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-weight:600}
.grid-of{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:1rem;align-items:start}
.cells{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
figure{margin:0;background:var(--card);border-radius:.5rem;padding:.7rem;min-width:0}
figcaption{font-weight:600}
figure svg{display:block;width:100%;max-width:36rem;height:auto;touch-action:pan-y}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;list-style:none;margin:.2rem 0;padding:0;font-size:.85rem}
.legend li::before{content:"";display:inline-block;width:1.4em;border-top:.2em solid currentColor;margin-right:.4em;
vertical-align:.25em}
.legend li.line-1::before,.legend li.line-4::before,.legend li.line-5::before{border-top-style:dashed}
.legend li.line-3::before{border-top-style:dotted}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:var(--soft)}
svg .track.kept{fill:var(--text);font-weight:600}svg .track{font-size:11px}
.grid{stroke:var(--rule);stroke-width:.7}.axis{fill:none;stroke:var(--soft)}
.mark{stroke:var(--soft);stroke-dasharray:2 3}.line{fill:none;stroke-width:1.7;stroke-linejoin:round}
.line-0{color:var(--l0)}.line-1{color:var(--l1)}.line-2{color:var(--l2)}.line-3{color:var(--l3)}.line-4{color:var(--l4)}
.line-5{color:var(--l5)}svg .line{stroke:currentColor}svg g[class^=line]{fill:currentColor}
path.line-1,path.line-5{stroke-dasharray:6 2}path.line-3{stroke-dasharray:2 2}path.line-4{stroke-dasharray:9 3 2 3}
.strip{fill:transparent}.strip:hover{fill:var(--soft);fill-opacity:.12}.cursor{stroke:var(--soft)}
.bar.kept{fill:var(--l0)}.bar.left{fill:var(--bar)}
.reading{color:var(--soft);font-size:.85rem;margin:.2rem 0 0;min-height:1.4em;overflow-wrap:normal}
.cells figure{overflow-x:auto;max-width:100%}
.cell{display:block;max-width:max(100%,30rem);margin:.4rem auto 0;border-radius:.3rem;background:#fff}
.sheet{display:block;max-width:100%;border-radius:.3rem;background:#fff}
@media(prefers-color-scheme:dark){.cell{filter:invert(.88) hue-rotate(180deg)}}
.copy{position:relative}.copy button{position:absolute;right:.4rem;top:.4rem}
pre{background:var(--card);border-radius:.5rem;padding:.7rem;margin:.4rem 0;white-space:pre-wrap;font-size:.85rem;
font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;user-select:all}
.copy button:not([hidden])+pre{padding-right:4.6rem}
button{font:inherit;font-size:.85rem;color:var(--text);background:var(--back);border:1px solid var(--rule);
border-radius:.4rem;padding:.15rem .7rem;cursor:pointer}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}
th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top;overflow-wrap:normal}
.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
.heat td{text-align:center;min-width:2.2rem}.heat th[scope=row]{white-space:nowrap}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--accent)}
footer{color:var(--soft);font-size:.85rem;border-top:1px solid var(--rule);padding-top:.6rem}
"""

SCRIPT = """
for (const box of document.querySelectorAll('.copy')) {
  const button = box.querySelector('button'), text = box.querySelector('pre');
  button.hidden = false;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}
for (const chart of document.querySelectorAll('.chart')) {
  const svg = chart.querySelector('svg'), reading = chart.querySelector('.reading');
  const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  cursor.setAttribute('class', 'cursor');
  svg.insertBefore(cursor, svg.querySelector('.strip'));
  const axis = svg.querySelector('.axis').getBBox();
  const show = event => {
    const strip = event.target.closest('.strip');
    if (!strip) return;
    reading.textContent = strip.querySelector('title').textContent.replaceAll('\\n', ', ');
    cursor.setAttribute('d', `M${strip.dataset.x} ${axis.y}v${axis.height}`);
  };
  svg.addEventListener('pointermove', show);
  svg.addEventListener('pointerdown', show);
  svg.addEventListener('pointerleave', () => { cursor.removeAttribute('d'); });
}
"""
