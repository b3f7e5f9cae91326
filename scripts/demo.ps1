# Upscale a real clip 3.5 times and to 240 fps, encode it with its sound, and put it beside what resizing would give.
# In PowerShell, from any folder: powershell -ExecutionPolicy Bypass -File scripts\demo.ps1
$ErrorActionPreference = 'Stop'
Set-Location (Join-Path $PSScriptRoot '..')

function Test-Python([string[]]$Command) {
    if (-not (Get-Command $Command[0] -ErrorAction SilentlyContinue)) { return $false }
    $rest = @($Command | Select-Object -Skip 1)
    & $Command[0] @rest -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>$null
    return $LASTEXITCODE -eq 0
}

if (-not (Test-Path '.venv\Scripts\python.exe')) {
    $python = @(('py', '-3.13'), ('py', '-3.12'), ('py', '-3'), @('python')) |
        Where-Object { Test-Python $_ } | Select-Object -First 1
    if (-not $python) { throw 'Python 3.12 or newer was not found: install it from python.org or the Microsoft Store' }
    Write-Host 'Installing into .venv; the first time, PyTorch is downloaded, which is large ...'
    $python = @($python)
    $rest = @($python | Select-Object -Skip 1)
    & $python[0] @rest -m venv .venv
    if ($LASTEXITCODE) { exit $LASTEXITCODE }
}
if (Test-Path 'build') { Remove-Item -Recurse build } # setuptools would take modules from it that are gone
.venv\Scripts\python.exe -m pip install --quiet --disable-pip-version-check '.[demo]'
if ($LASTEXITCODE) { exit $LASTEXITCODE }
.venv\Scripts\python.exe -m scripts.demo @args
exit $LASTEXITCODE
