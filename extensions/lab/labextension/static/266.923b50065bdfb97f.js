"use strict";(self.rspackChunkfactorygate_lab=self.rspackChunkfactorygate_lab||[]).push([[266],{"./node_modules/css-loader/dist/cjs.js!./style/index.css"(e,t,o){var n=o("./node_modules/css-loader/dist/runtime/noSourceMaps.js"),r=o.n(n),a=o("./node_modules/css-loader/dist/runtime/api.js"),s=(o.n(a))()(r());s.push([e.id,`.fg-Status { display: flex; align-items: center; height: 100%; }
#top-panel .fg-Status { align-self: center; height: 24px; } /* Notebook's, which has no status bar */
.fg-Status button {
  display: flex; gap: 12px; align-items: center; height: 100%; padding: 0 8px; border: 0; background: none; cursor: pointer;
  color: var(--jp-ui-font-color1); font: inherit; font-size: var(--jp-ui-font-size1); white-space: nowrap;
}
.fg-Status button:hover { background: var(--jp-layout-color3); }
.fg-Status button:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: -2px; }
.fg-Status span:empty { display: none; }
.fg-Status-time { font-variant-numeric: tabular-nums; }
.fg-Status[data-near="soon"] .fg-Status-time { padding: 0 6px; border-radius: 3px; background: #7a4d00; color: #fff; }
.fg-Status[data-near="now"] .fg-Status-time,
.fg-Status[data-phase="ended"] .fg-Status-time { padding: 0 6px; border-radius: 3px; background: #a3211a; color: #fff; }

.fg-Panel { overflow: auto; padding: 8px 12px; background: var(--jp-layout-color1); color: var(--jp-ui-font-color1); }
.fg-Panel h2 { margin: 12px 0 4px; font-size: var(--jp-ui-font-size2); }
.fg-Panel p { margin: 4px 0; }
.fg-Panel a { color: var(--jp-content-link-color, #0b5cad); text-decoration: underline; }
.fg-Panel ul { margin: 4px 0; padding: 0; list-style: none; }
.fg-Panel li { padding: 4px 0; border-top: 1px solid var(--jp-border-color2); }
.fg-Line { display: block; }
.fg-Note { padding: 6px 8px; border-left: 3px solid #b26a00; background: var(--jp-layout-color2); }
.fg-Use { margin: 8px 0; }
.fg-Use dd { margin: 0 0 6px; }
.fg-Use meter { display: block; width: 100%; }
.fg-Buttons { display: flex; flex-wrap: wrap; gap: 6px; margin: 8px 0; }
.fg-Button {
  padding: 4px 10px; border: 1px solid var(--jp-border-color0); border-radius: 3px; background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1); font: inherit; font-size: var(--jp-ui-font-size1); cursor: pointer;
}
.fg-Button:hover { background: var(--jp-layout-color2); }
.fg-Button:focus-visible, .fg-Panel a:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: 1px; }
.fg-Kept { padding: 8px 0; }
.fg-Kept pre { margin: 0 0 4px; white-space: pre-wrap; }
.fg-Kept-line { margin: 0; color: var(--jp-ui-font-color1); font-size: var(--jp-ui-font-size1); }
.fg-Hand { display: flex; flex-direction: column; gap: 8px; max-width: 70ch; }
.fg-Hand p { margin: 0; }
.fg-Hand textarea { display: block; width: 100%; box-sizing: border-box; }
.fg-Sent { max-height: 10em; margin: 4px 0 0; padding: 6px; overflow: auto; background: var(--jp-layout-color2); white-space: pre-wrap; }

/* In JupyterLab alone the menu bar is as wide as its menus, and scrolls only below a mouse. */
@media (max-width: 600px) {
  #jp-menu-panel { min-width: 0; }
  #jp-MainMenu { overflow-x: auto; }
  #jp-MainMenu .lm-MenuBar-item { padding: 0 3px; }
}
`,""]),o.d(t,{},{A:s})},"./node_modules/css-loader/dist/runtime/api.js"(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var o="",n=void 0!==t[5];return t[4]&&(o+="@supports (".concat(t[4],") {")),t[2]&&(o+="@media ".concat(t[2]," {")),n&&(o+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),o+=e(t),n&&(o+="}"),t[2]&&(o+="}"),t[4]&&(o+="}"),o}).join("")},t.i=function(e,o,n,r,a){"string"==typeof e&&(e=[[null,e,void 0]]);var s={};if(n)for(var i=0;i<this.length;i++){var l=this[i][0];null!=l&&(s[l]=!0)}for(var d=0;d<e.length;d++){var u=[].concat(e[d]);n&&s[u[0]]||(void 0!==a&&(void 0===u[5]||(u[1]="@layer".concat(u[5].length>0?" ".concat(u[5]):""," {").concat(u[1],"}")),u[5]=a),o&&(u[2]&&(u[1]="@media ".concat(u[2]," {").concat(u[1],"}")),u[2]=o),r&&(u[4]?(u[1]="@supports (".concat(u[4],") {").concat(u[1],"}"),u[4]=r):u[4]="".concat(r)),t.push(u))}},t}},"./node_modules/css-loader/dist/runtime/noSourceMaps.js"(e){e.exports=function(e){return e[1]}},"./style/index.css"(e,t,o){o.r(t);var n=o("./node_modules/style-loader/dist/runtime/injectStylesIntoStyleTag.js"),r=o.n(n),a=o("./node_modules/style-loader/dist/runtime/styleDomAPI.js"),s=o.n(a),i=o("./node_modules/style-loader/dist/runtime/insertBySelector.js"),l=o.n(i),d=o("./node_modules/style-loader/dist/runtime/setAttributesWithoutAttributes.js"),u=o.n(d),p=o("./node_modules/style-loader/dist/runtime/insertStyleElement.js"),c=o.n(p),f=o("./node_modules/style-loader/dist/runtime/styleTagTransform.js"),m=o.n(f),g=o("./node_modules/css-loader/dist/cjs.js!./style/index.css"),y={};y.styleTagTransform=m(),y.setAttributes=u(),y.insert=l().bind(null,"head"),y.domAPI=s(),y.insertStyleElement=c(),r()(g.A,y);let v=g.A&&g.A.locals?g.A.locals:void 0;o.d(t,{},{default:v})},"./node_modules/style-loader/dist/runtime/injectStylesIntoStyleTag.js"(e){var t=[];function o(e){for(var o=-1,n=0;n<t.length;n++)if(t[n].identifier===e){o=n;break}return o}function n(e,n){for(var r={},a=[],s=0;s<e.length;s++){var i=e[s],l=n.base?i[0]+n.base:i[0],d=r[l]||0,u="".concat(l," ").concat(d);r[l]=d+1;var p=o(u),c={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==p)t[p].references++,t[p].updater(c);else{var f=function(e,t){var o=t.domAPI(t);return o.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&o.update(e=t):o.remove()}}(c,n);n.byIndex=s,t.splice(s,0,{identifier:u,updater:f,references:1})}a.push(u)}return a}e.exports=function(e,r){var a=n(e=e||[],r=r||{});return function(e){e=e||[];for(var s=0;s<a.length;s++){var i=o(a[s]);t[i].references--}for(var l=n(e,r),d=0;d<a.length;d++){var u=o(a[d]);0===t[u].references&&(t[u].updater(),t.splice(u,1))}a=l}}},"./node_modules/style-loader/dist/runtime/insertBySelector.js"(e){var t={};e.exports=function(e,o){var n=function(e){if(void 0===t[e]){var o=document.querySelector(e);if(window.HTMLIFrameElement&&o instanceof window.HTMLIFrameElement)try{o=o.contentDocument.head}catch(e){o=null}t[e]=o}return t[e]}(e);if(!n)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");n.appendChild(o)}},"./node_modules/style-loader/dist/runtime/insertStyleElement.js"(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},"./node_modules/style-loader/dist/runtime/setAttributesWithoutAttributes.js"(e,t,o){e.exports=function(e){var t=o.nc;t&&e.setAttribute("nonce",t)}},"./node_modules/style-loader/dist/runtime/styleDomAPI.js"(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(o){var n,r,a;n="",o.supports&&(n+="@supports (".concat(o.supports,") {")),o.media&&(n+="@media ".concat(o.media," {")),(r=void 0!==o.layer)&&(n+="@layer".concat(o.layer.length>0?" ".concat(o.layer):""," {")),n+=o.css,r&&(n+="}"),o.media&&(n+="}"),o.supports&&(n+="}"),(a=o.sourceMap)&&"u">typeof btoa&&(n+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),e.styleTagTransform(n,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},"./node_modules/style-loader/dist/runtime/styleTagTransform.js"(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}}}]);